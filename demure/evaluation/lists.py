"""What the lists are like, found or not: new or known to all, alike or varied, the same for everyone or not.

Legend: ``items`` (B, K) int64, ranked lists of item indices, best first, -1 where a list has ended; ``k`` the cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from demure.data.dataset import Dataset
    from demure.data.histories import Histories

_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Catalogue:
    """What lists and slices are measured by. ``popularity`` (I,): how many of the ``users`` with a training history had
    the item; by modality: ``content`` (I, d) float32, rows of unit length, zero where there is nothing to compare; and
    ``present`` (I,) bool, whether an item has it."""

    popularity: np.ndarray
    users: int
    content: Mapping[str, np.ndarray] = field(default_factory=dict)
    present: Mapping[str, np.ndarray] = field(default_factory=dict)

    @cached_property
    def comparable(self) -> dict[str, np.ndarray]:
        """Modality -> (I,) bool, the rows of ``content`` that are not zero."""
        return {name: np.asarray(vectors.any(axis=1)) for name, vectors in self.content.items()}

    @classmethod
    def of(cls, dataset: Dataset) -> Catalogue:
        """That of a dataset and all its features, less their mean, each row scaled to unit length."""
        from demure.features import store

        content, present = {}, {}
        for name in store.names(dataset.path):
            features = store.load(dataset.path, name)
            content[name], present[name] = _unit(features.vectors, features.present), features.present
        return cls(*popularity(dataset.histories("train"), dataset.n_items), content, present)


def popularity(train: Histories, n_items: int) -> tuple[np.ndarray, int]:
    """How many users had each item (I,) int64, a repeated choice counted once; and how many users there are."""
    lengths = np.diff(train.indptr)
    pairs = np.sort(np.repeat(np.arange(len(lengths)), lengths) * n_items + train.items)
    once = pairs[np.diff(pairs, prepend=-1) > 0]
    return np.bincount(once % n_items, minlength=n_items), int((lengths > 0).sum())


def of_lists(items: np.ndarray, ks: Sequence[int], catalogue: Catalogue) -> dict[str, np.ndarray]:
    """Per list (B,) at each of the ascending ``ks``; NaN for a list too short to say.

    novelty@k = mean over the items listed of -log2((n_i + 1) / (U + 1)): the self-information, in bits, of an item
    that n_i of U users had (Zhou et al., PNAS 2010; smoothed, so that items that nobody had count as well).
    arp@k = mean over the items listed of n_i (Yin et al., VLDB 2012).
    ild-MODALITY@k = 1 - mean cosine over the pairs of items listed that have the modality (Smyth and McClure 2001).
    """
    listed = items >= 0
    known = catalogue.popularity[items].astype(np.float64)
    surprise = np.log2(catalogue.users + 1) - np.log2(known + 1)
    told = {}
    for name, values in (("novelty", surprise), ("arp", known)):
        for k in ks:
            inside = listed[:, :k]
            told[f"{name}@{k}"] = _ratio(values[:, :k].sum(axis=1, where=inside), inside.sum(axis=1))
    for name, vectors in catalogue.content.items():
        for k, values in zip(ks, _diversity(items, ks, vectors, catalogue.comparable[name]), strict=True):
            told[f"ild-{name}@{k}"] = values
    return told


def of_all_lists(listed: Mapping[int, np.ndarray]) -> dict[str, float]:
    """Of the lists of all users together; ``listed``: k -> (I,) how many lists of length k hold the item.

    coverage@k = items that are in at least one list / I.
    gini@k = sum over j of (2 j - I - 1) c_(j) / (I sum c), c_(j) the j-th smallest count: 0 where every item is listed
    equally often, near 1 where few take all places. NaN where nothing is listed.
    """
    told = {f"coverage@{k}": float((counts > 0).mean()) for k, counts in listed.items()}
    return told | {f"gini@{k}": gini(counts) for k, counts in listed.items()}


def gini(counts: np.ndarray) -> float:
    """The Gini coefficient of ``counts`` (I,), those of zero included; NaN if all are zero."""
    ordered = np.sort(counts).astype(np.float64)
    n, total = len(ordered), ordered.sum()
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * total)) if total else float("nan")


def _diversity(items: np.ndarray, ks: Sequence[int], vectors: np.ndarray, comparable: np.ndarray) -> list[np.ndarray]:
    """(B,) at each k. Of n unit vectors with sum s, the mean cosine of the pairs is (|s|^2 - n) / (n (n - 1))."""
    from scipy.sparse import csr_array

    there = (items >= 0) & comparable[items]
    out, total, n, start = [], np.zeros((len(items), vectors.shape[1])), np.zeros(len(items)), 0
    for k in ks:
        inside = there[:, start:k]
        ends = np.concatenate([[0], inside.sum(axis=1).cumsum()])
        listed = items[:, start:k][inside]
        total += csr_array((np.ones(len(listed), np.float32), listed, ends), (len(items), len(vectors))) @ vectors
        n += inside.sum(axis=1)
        out.append(1.0 - _ratio((total**2).sum(axis=1) - n, n * (n - 1)))
        start = k
    return out


def _ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
    return np.divide(over, under, out=np.full(len(over), np.nan), where=under > 0)


def _unit(vectors: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Rows less the mean of those present, of length 1; in place, in blocks, so that a large table is not doubled."""
    mean = vectors[present].mean(axis=0, dtype=np.float64).astype(np.float32) if present.any() else 0.0
    for at in range(0, len(vectors), _ROWS_AT_ONCE):
        rows = vectors[at : at + _ROWS_AT_ONCE]
        rows -= mean
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        rows /= np.where(lengths > 0, lengths, 1.0)
    vectors[~present] = 0.0
    return vectors
