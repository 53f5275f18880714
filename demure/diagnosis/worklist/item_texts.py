"""The texts of items, which of them describe an item, and which descriptions items of different kinds share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from demure.data.describe.lookalikes import group_by_key
from demure.extraction.cleaning import clean

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_matrix

PAIR = 2
"""Items that can share a text by a mistake; one that more of them share is a placeholder."""
_NOT_TEXT = {"item_id", "image"}
_LEAST_DISTINCT = 0.3  # share of distinct values; a column with fewer is an attribute, such as a colour
_LEAST_WORDS = 5  # in the median text of a description
_UNLIKE = 0.2  # cosine of TF-IDF; two items of a shop that belong together lie above (benchmarks/LOG.md)
_RANDOM_PAIRS = 4000


@dataclass(frozen=True)
class ItemTexts:
    """Each text column, cleaned, (I,) texts; empty where an item has none."""

    columns: dict[str, list[str]]

    @classmethod
    def of(cls, items: pd.DataFrame, names: Sequence[str]) -> ItemTexts:
        """Return those columns ``names`` of ``items`` that hold texts. Codes and numbers are not among them."""
        used = [name for name in names if name in items.columns and name not in _NOT_TEXT]
        return cls({name: _cleaned(items[name].fillna("").astype(str).tolist()) for name in used})

    @cached_property
    def normalized(self) -> dict[str, list[str]]:
        """The same without differences of case."""
        return {name: [text.lower() for text in texts] for name, texts in self.columns.items()}

    @cached_property
    def prose(self) -> list[str]:
        """The columns that describe an item in words of their own, longest first: a title or brand is not one."""
        lengths = {}
        for name, texts in self.normalized.items():
            words = [len(text.split()) for text in texts if text]
            distinct = len(set(texts) - {""})
            if words and distinct >= _LEAST_DISTINCT * len(words) and np.median(words) >= _LEAST_WORDS:
                lengths[name] = float(np.median(words))
        return sorted(lengths, key=lambda name: -lengths[name])

    def shared(self, name: str) -> Iterator[list[int]]:
        """Yield the rows of each text of the column ``name`` that items with nothing else in common have."""
        groups = groups_of(self.normalized[name])
        others = [
            " ".join(parts)
            for parts in zip(*(rows for other, rows in self.normalized.items() if other != name), strict=True)
        ]
        if groups and others:
            unlike = Likeness(others).are_unlike(groups)
            yield from (rows for rows, apart in zip(groups, unlike, strict=True) if apart)

    def placeholders(self) -> np.ndarray:
        """Return (I,) whether an item has a placeholder in place of a description."""
        count = len(next(iter(self.columns.values()), []))
        has_placeholder = np.zeros(count, bool)
        for name in self.prose:
            for rows in self.shared(name):
                has_placeholder[rows] |= len(rows) > PAIR
        return has_placeholder


class Likeness:
    """How like the texts of items are, by the cosine of their TF-IDF vectors over some columns."""

    def __init__(self, texts: list[str]) -> None:
        self._vectors = tfidf(texts)
        self.unlike = _UNLIKE
        if self._vectors is not None:
            first, second = np.random.default_rng(0).integers(len(texts), size=(2, _RANDOM_PAIRS))
            cosines = np.asarray(self._vectors[first].multiply(self._vectors[second]).sum(1)).ravel()
            self.unlike = (
                max(_UNLIKE, float(np.quantile(cosines[first != second], 0.95, method="lower")))
                if (first != second).any()
                else _UNLIKE
            )

    def are_unlike(self, groups: list[list[int]]) -> list[bool]:
        """Return for each group of two or more items whether they are no more like each other than items drawn at
        random; False where an item has no words."""
        if self._vectors is None:
            return [False] * len(groups)
        from scipy.sparse import csr_matrix

        counts = np.array([len(rows) for rows in groups], np.int64)
        indptr, rows = (
            np.append(0, np.cumsum(counts)),
            np.concatenate([np.zeros(0, np.int64), *groups]).astype(np.int64),
        )
        members = csr_matrix((np.ones(len(rows), np.float32), rows, indptr), (len(groups), self._vectors.shape[0]))
        # The mean over pairs, from the sum of the unit vectors: |sum|^2 = n + 2 sum of pairs.
        sums = members @ self._vectors
        totals = np.asarray(sums.multiply(sums).sum(1), np.float64).ravel()
        wordless = members @ (np.diff(self._vectors.indptr) == 0).astype(np.float32)
        unlike: list[bool] = ((totals - counts <= self.unlike * counts * (counts - 1)) & (wordless == 0)).tolist()
        return unlike


def _cleaned(texts: list[str]) -> list[str]:
    """Return the texts cleaned; attributes have few distinct ones."""
    by_text = {text: clean(text) for text in dict.fromkeys(texts)}
    return [by_text[text] for text in texts]


def tfidf(texts: list[str]) -> csr_matrix | None:
    """Return the unit TF-IDF vectors of ``texts``; None where no text has a word."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        vectors: csr_matrix = TfidfVectorizer(token_pattern=r"(?u)\w+", dtype=np.float32).fit_transform(texts).tocsr()
    except ValueError:
        return None
    return vectors


def groups_of(keys: list[str]) -> list[list[int]]:
    """Return the rows of each key that several items share, without the empty key."""
    return group_by_key((key, row) for row, key in enumerate(keys) if key)
