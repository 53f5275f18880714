"""Attributes that differ from those of nearly all items with similar content: a category, colour or genre that may be
wrong.

The k-nearest-neighbour check of labels (Wilson, "Asymptotic properties of nearest neighbor rules using edited data",
1972), kept to the cases where it is nearly always right: the neighbours are of one voice, and of the items whose
neighbours are so, nearly all have the neighbours' value. The neighbours are those by title and description, without
the attributes themselves, and those by each modality of pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from demure.diagnosis.explain import join_names
from demure.diagnosis.worklist.contents import Contents
from demure.diagnosis.worklist.finding import Finding, Sign
from demure.diagnosis.worklist.item_texts import tfidf

_NEIGHBORS, _AGREEING = 10, 10
_LEAST_RIGHT = 0.985  # of the items whose neighbours agree, share that have the neighbours' value
_LEAST_ITEMS = 100  # such items
_MOST_ITEMS = 30_000  # pairs grow with the square
_MOST_VALUES = 0.1  # distinct values of an attribute, as a share of the items that have it
_ROWS = 1024
_SEPARATOR = "|"


def mislabelled(contents: Contents, skipped: set[int]) -> tuple[list[Finding], list[str]]:
    """Return the findings about attributes, and notes about what was not checked. ``skipped``: rows of items whose
    content is at fault, so that their neighbours mean nothing."""
    attributes = dict(_attributes(contents))
    if not attributes:
        return [], []
    if len(contents.item_ids) > _MOST_ITEMS:
        return [], [
            f"attributes were not checked: {len(contents.item_ids):,} items are too many to compare by likeness"
        ]
    views = dict(_views(contents, attributes))
    reasons: dict[int, dict[str, str]] = {}
    for view, neighbors in views.items():
        others = [other for name, other in views.items() if name != view]
        for column, values in attributes.items():
            for row, value, right in unlike_neighbors(values, neighbors):
                if row not in skipped and not any((values[other[row]] == values[row]).any() for other in others):
                    sentence = _sentence(column, str(values[row]), value, view, right)
                    reasons.setdefault(row, {}).setdefault(column, sentence)
    return [_finding(contents, row, by_column) for row, by_column in reasons.items()], []


def _attributes(contents: Contents) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each column with few distinct values that are not lists, (I,) texts, empty where an item has none."""
    for column, texts in contents.columns.items():
        values = np.array(texts, dtype=object)
        owned = values[values != ""]
        if not len(owned) or any(_SEPARATOR in text for text in owned):
            continue
        if 1 < len(set(owned)) <= max(2, _MOST_VALUES * len(owned)):
            yield column, values


def _views(contents: Contents, attributes: dict[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each way of comparing items, in words, with the neighbours (I, _NEIGHBORS) by it, -1 where there are
    fewer."""
    free = [texts for name, texts in contents.columns.items() if name not in attributes]
    vectors = tfidf([" ".join(parts) for parts in zip(*free, strict=True)]) if free else None
    if vectors is not None:
        # A duplicate has the same attributes, right or wrong; it is no second opinion, but does no harm either.
        yield "title and description", _neighbors(vectors.shape[0], lambda rows: (vectors[rows] @ vectors.T).toarray())
    for name, features in contents.reader.unit_features.items():
        if contents.kind_of(name) == "image":
            yield "picture", _neighbors(len(features), partial(_cosines, features))


def _cosines(unit_vectors: np.ndarray, rows: np.ndarray) -> np.ndarray:
    cosines: np.ndarray = unit_vectors[rows] @ unit_vectors.T
    return cosines


def _neighbors(count: int, cosines: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    neighbors = np.full((count, _NEIGHBORS), -1)
    if count <= _NEIGHBORS:
        return neighbors
    for start in range(0, count, _ROWS):
        rows = np.arange(start, min(start + _ROWS, count))
        cosine = cosines(rows)
        cosine[np.arange(len(rows)), rows] = -np.inf
        best = np.argpartition(cosine, -_NEIGHBORS, axis=1)[:, -_NEIGHBORS:]
        best[np.take_along_axis(cosine, best, 1) <= 0] = -1
        neighbors[rows] = best
    return neighbors


def unlike_neighbors(values: np.ndarray, neighbors: np.ndarray) -> Iterator[tuple[int, str, float]]:
    """Yield (row, the neighbours' value, share of items that have the value that their neighbours agree on).

    ``values`` (I,) texts, ``neighbors`` (I, K) rows, -1 for none: an item with fewer has no answer.
    """
    codes, names = _codes(values)
    theirs = np.where(neighbors >= 0, codes[np.maximum(neighbors, 0)], -1)
    first = theirs[:, :1]
    agreeing = ((theirs == first) & (theirs >= 0)).sum(1) >= _AGREEING
    agreeing &= codes >= 0
    own = codes == first[:, 0]
    if agreeing.sum() < _LEAST_ITEMS:
        return
    right = float(own[agreeing].mean())
    if right < _LEAST_RIGHT:
        return
    for row in np.flatnonzero(agreeing & ~own).tolist():
        yield row, str(names[first[row, 0]]), right


def _codes(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (I,) codes, -1 for an empty text, and the texts that they stand for."""
    names, codes = np.unique(values.astype(str), return_inverse=True)
    codes = codes.astype(np.int64)
    if len(names) and names[0] == "":
        codes -= 1
        names = names[1:]
    return codes, names


def _sentence(column: str, own: str, theirs: str, view: str, right: float) -> str:
    return (
        f"Its {column} is {own!r}, and that of all {_NEIGHBORS} items with the most similar {view} is {theirs!r}, as "
        f"it is for {100 * right:.1f} % of the items with such neighbours."
    )


def _finding(contents: Contents, row: int, by_column: dict[str, str]) -> Finding:
    """Return one finding for all attributes of an item. ``by_column``: attribute -> sentence."""
    columns = list(by_column)
    return Finding(
        "label",
        contents.item_ids[row],
        ", ".join(columns),
        Sign.STRONG,
        int(contents.choices[row]),
        " ".join(by_column.values()),
        f"Check its {join_names(columns)}.",
    )
