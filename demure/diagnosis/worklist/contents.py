"""What the checks of the work list share: the words, pictures, choices and features of every item, by row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from demure.data.describe.lookalikes import group_by_key
from demure.diagnosis.flagging import deviations
from demure.diagnosis.reader import DiagnosisReader
from demure.extraction.cleaning import clean

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

NOUNS = {"image": "picture", "text": "text"}
_NOT_TEXT = {"item_id", "image"}
_LEAST_DISTINCT = 0.3  # share of distinct values; a column with fewer is an attribute, such as a colour
_LEAST_WORDS = 5  # in the median text of a description
_UNLIKE = 0.2  # cosine of TF-IDF; two items of a shop that belong together lie above (benchmarks/LOG.md)
_RANDOM_PAIRS = 4000
_SNIPPET = 300  # characters


@dataclass(frozen=True)
class Contents:
    """The items of a run, row k for the k-th item of the dataset (I of them), and where their content is."""

    reader: DiagnosisReader

    @cached_property
    def item_ids(self) -> list[str]:
        """(I,) ids."""
        return [str(item) for item in self.reader.items["item_id"]]

    @cached_property
    def choices(self) -> np.ndarray:
        """(I,) training choices."""
        table = self.reader.table
        counts = dict(zip(map(str, table.item_ids), table.item_counts.tolist(), strict=True))
        return np.array([counts.get(item, 0) for item in self.item_ids], np.int64)

    @cached_property
    def columns(self) -> dict[str, list[str]]:
        """Each text column, cleaned, (I,) texts; empty where an item has none. Codes and numbers are not among them."""
        frame = self.reader.items
        names = self.reader.dataset_manifest.text_columns or [name for name in frame.columns if name not in _NOT_TEXT]
        used = [name for name in names if name in frame.columns and name not in _NOT_TEXT]
        return {name: _cleaned(frame[name].fillna("").astype(str).tolist()) for name in used}

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

    def whole_texts(self) -> list[str]:
        """Return (I,) all texts of each item in one, without differences of case."""
        return [" ".join(filter(None, parts)) for parts in zip(*self.normalized.values(), strict=True)] or [""] * len(
            self.item_ids
        )

    def snippet(self, row: int) -> str:
        """Return the words of an item: its description, else all its texts but the title, at most 300 characters."""
        parts = [self.columns[name][row] for name in self.prose if self.columns[name][row]]
        if not parts:
            parts = [texts[row] for name, texts in self.columns.items() if name != "title" and texts[row]]
        text = " · ".join(parts)
        return text if len(text) <= _SNIPPET else text[: _SNIPPET - 1].rsplit(" ", 1)[0] + "…"

    @cached_property
    def pictures(self) -> list[Path | None]:
        """(I,) picture files; None where an item has none."""
        return self.reader.pictures(self.item_ids)

    @cached_property
    def deviations(self) -> pd.DataFrame:
        """The rows of :func:`demure.diagnosis.flagging.deviations`, by (item_id, modality)."""
        return deviations(self.reader).set_index(["item_id", "modality"], drop=False)

    @cached_property
    def typical_probability(self) -> dict[str, float]:
        """Mean probability of a point of interest over the choices whose item has the modality."""
        table = self.reader.table
        return {
            name: float(table.probability[table.present[:, m], m].mean(dtype=np.float64))
            for m, name in enumerate(table.modalities)
            if table.present[:, m].any()
        }

    def kind_of(self, modality: str) -> str:
        """Return ``image``, ``text`` or another word for what a modality's features were made of."""
        return next((entry.kind for entry in self.reader.placebos.modalities if entry.name == modality), modality)

    def noun(self, modality: str) -> str:
        """Return what users call the content of a modality: picture, text, or its name."""
        return NOUNS.get(self.kind_of(modality), modality)

    def modality_of(self, kind: str) -> str:
        """Return the modality made of texts or of images; ``kind`` itself where the run has none."""
        return next((entry.name for entry in self.reader.placebos.modalities if entry.kind == kind), kind)

    def name(self, row: int) -> str:
        """Return the title, or the id of an item without one."""
        item = self.item_ids[row]
        return self.reader.titles.get(item, "") or item

    def cost(self, item_id: str, modality: str) -> float | None:
        """Return how many more of an item's choices its modality would explain if it were like those of other items;
        None where it was not diagnosed or explains nothing anywhere."""
        if modality in self.reader.placebos.cannot_tell or (item_id, modality) not in self._means:
            return None
        mean, count = self._means[item_id, modality]
        return float(max(0.0, self.typical_probability[modality] - mean) * count)

    @cached_property
    def _means(self) -> dict[tuple[str, str], tuple[float, float]]:
        """(Item id, modality) -> mean probability of a point of interest, and number of choices."""
        names = ["item_id", "modality", "mean_probability", "interactions"]
        rows = zip(*(self.deviations[name].tolist() for name in names), strict=True)
        return {(item, modality): (float(mean), float(count)) for item, modality, mean, count in rows}


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
