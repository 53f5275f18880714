"""Rival of content: transitions from the interactions before, such as habits and sets bought together.

p(i | j) for the items i chosen after j follows from the soft counts c_ji of other users' pairs,

    rho(i | j) = p(i | j) / p_t(i),    p(i | j) = (c_ji + k p_t(i)) / (c_j + k).

An interaction is explained by a mixture of the interactions before it and of strengths k of the prior; the shares of
the mixture are learned by EM. Where interactions have the same time their order is unknown, and both directions count.

Shape suffixes: N training interactions, E pairs of them, I items, S kinds of source (distance before, or after), K
strengths, B further interactions, W = ``WINDOW`` interactions before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from demure.data.histories import Histories

WINDOW = 5
"""Largest distance of a pair in a history."""
_STRENGTHS = (0.3, 1.0, 3.0, 10.0, 100.0)
_EM_STEPS = 5
_PAIRS_AT_ONCE = 16384
_TINY = 1e-12


class Transition:
    """Transition counts over the training interactions of the users ``user_N``.

    ``popularity_factor_N``: how much more popular each item was at the time of the interaction than on the whole.
    """

    def __init__(self, train: Histories, user_N: np.ndarray, n_items: int, popularity_factor_N: np.ndarray) -> None:
        item_N = train.items
        source_E, self._target_E, self._kind_E = _pairs(train, user_N)
        self._kind_starts = np.searchsorted(self._kind_E, np.arange(2 * WINDOW + 1))
        j, i, user = item_N[source_E], item_N[self._target_E], user_N[self._target_E]
        self._n, self._n_items, self._from_E = len(item_N), n_items, j
        self._key, self._pair_E = np.unique(j * np.int64(n_items) + i, return_inverse=True)
        # A user's own pairs are no evidence for the user's interactions: they are subtracted in `update`.
        self._own_pair_E = np.unique(user * np.int64(len(self._key) + 1) + self._pair_E, return_inverse=True)[1]
        self._own_from_E = np.unique(user * np.int64(n_items) + j, return_inverse=True)[1]
        self._base_I = _base(np.bincount(item_N, minlength=n_items))
        self._base_E = self._base_I[i] * popularity_factor_N[self._target_E]
        self.share_SK = np.full((2 * WINDOW, len(_STRENGTHS)), 1.0 / (2 * WINDOW * len(_STRENGTHS)))
        self._count: np.ndarray = np.zeros(len(self._key))
        self._row_I: np.ndarray = np.zeros(n_items)

    def update(self, weight_N: np.ndarray) -> np.ndarray:
        """Fit to the interactions weighted by ``weight_N``; return p(i | before) / p_t(i) of each (N,)."""
        if not len(self._pair_E):
            return np.ones(self._n)
        weight_E = weight_N[self._target_E] * self.share_SK.sum(1)[self._kind_E]
        self._count = np.bincount(self._pair_E, weight_E, len(self._key))
        self._row_I = np.bincount(self._from_E, weight_E, self._n_items)
        own_count = np.bincount(self._own_pair_E, weight_E)
        own_row = np.bincount(self._own_from_E, weight_E)
        # New arrays of pairs cost more than what is computed in them: their pages of memory have to be cleared. So
        # there are few, and what needs more is done for as many pairs as stay in the cache.
        ratio_KE = np.empty((len(_STRENGTHS), len(self._pair_E)))
        for start in range(0, len(self._pair_E), _PAIRS_AT_ONCE):
            rows = slice(start, start + _PAIRS_AT_ONCE)
            count_R = self._count[self._pair_E[rows]] - own_count[self._own_pair_E[rows]]
            row_R = self._row_I[self._from_E[rows]] - own_row[self._own_from_E[rows]]
            ratio_KE[:, rows] = _ratios(np.maximum(count_R, 0.0), np.maximum(row_R, 0.0), self._base_E[rows])
        kinds = [slice(*self._kind_starts[kind : kind + 2]) for kind in range(2 * WINDOW)]
        density_E, scale_E = np.empty_like(weight_E), weight_E
        for _ in range(_EM_STEPS):
            share_SK = self.share_SK
            # Sums over the strengths, kind by kind: products with vectors, without arrays of pairs x strengths.
            for rows, share_K in zip(kinds, share_SK, strict=True):
                np.matmul(share_K, ratio_KE[:, rows], out=density_E[rows])
            density_N = np.bincount(self._target_E, density_E, self._n)
            np.take(weight_N / np.maximum(density_N, _TINY), self._target_E, out=scale_E, mode="clip")
            expected_SK = np.stack([ratio_KE[:, rows] @ scale_E[rows] for rows in kinds]) * share_SK
            self.share_SK = expected_SK + 1e-3
            self.share_SK /= self.share_SK.sum()
        # The shares of the sources that a short history lacks go to the popularity, whose ratio is 1.
        missing_N = 1.0 - np.bincount(self._target_E, share_SK.sum(1)[self._kind_E], self._n)
        ratio_N: np.ndarray = np.maximum(missing_N, 0.0) + density_N
        return ratio_N

    def state(self) -> dict[str, np.ndarray]:
        """Return the fitted arrays under their names in rivals.safetensors."""
        return {"share_SK": self.share_SK, "_count": self._count, "_row_I": self._row_I}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Set the arrays of :meth:`state`."""
        self.share_SK, self._count, self._row_I = (state[name] for name in ("share_SK", "_count", "_row_I"))

    def counts(self) -> TransitionCounts:
        """Return what the histories of new users need of the fit."""
        sources = np.arange(self._n_items + 1, dtype=np.int64) * self._n_items
        starts_I1, item_E = np.searchsorted(self._key, sources), self._key % max(self._n_items, 1)
        return TransitionCounts(starts_I1, item_E, self._count, self._row_I, self._base_I, self.share_SK)

    def next_ratio(self, before_BW: np.ndarray, item_B: np.ndarray, popularity_factor_B: np.ndarray) -> np.ndarray:
        """Return p(i | before) / p_t(i) (B,) of interactions after the training.

        ``before_BW``: the last items, newest first, -1 for none; ``popularity_factor_B`` as ``popularity_factor_N``.
        """
        ratio_B = np.ones(len(item_B))
        for gap, from_B in enumerate(before_BW.T[:WINDOW]):
            rows = np.flatnonzero((from_B >= 0) & (from_B != item_B))
            count = _look_up(self._key, self._count, from_B[rows] * np.int64(self._n_items) + item_B[rows])
            base = self._base_I[item_B[rows]] * popularity_factor_B[rows]
            share_K = self.share_SK[gap]
            ratio_B[rows] += share_K @ _ratios(count, self._row_I[from_B[rows]], base) - share_K.sum()
        return np.maximum(ratio_B, _TINY)


@dataclass(frozen=True)
class TransitionCounts:
    """The fitted transitions for the histories of users who were not part of the training.

    The pairs (E,) are sorted by their source item: those from item j are ``starts_I1[j]`` to before
    ``starts_I1[j + 1]``, to ``item_E``, with the soft counts ``count_E``; ``row_I`` counts all pairs from an item.
    ``base_I``: popularity; ``share_SK`` as in :class:`Transition`.
    """

    starts_I1: np.ndarray
    item_E: np.ndarray
    count_E: np.ndarray
    row_I: np.ndarray
    base_I: np.ndarray
    share_SK: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays to store under their names; ``base_I`` follows from the training interactions."""
        return {
            "starts": self.starts_I1,
            "item": self.item_E.astype(np.int32),
            "count": self.count_E.astype(np.float32),
            "row": self.row_I.astype(np.float32),
            "share": self.share_SK,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], item_counts_I: np.ndarray) -> TransitionCounts:
        """Return the counts of :meth:`arrays`; ``item_counts_I``: training interactions of each item.

        Raises ``KeyError`` where an array is missing, ``ValueError`` where they do not fit each other or the items.
        """
        starts_I1, item_E, row_I = arrays["starts"], arrays["item"], arrays["row"]
        n_items = len(item_counts_I)
        rising = len(starts_I1) == n_items + 1 and starts_I1[0] == 0 and (np.diff(starts_I1) >= 0).all()
        if not rising or starts_I1[-1] != len(item_E) or len(item_E) != len(arrays["count"]) or len(row_I) != n_items:
            raise ValueError("is of other items")
        if len(item_E) and not (item_E.min() >= 0 and item_E.max() < n_items):
            raise ValueError("names an item that there is not")
        if arrays["share"].shape != (2 * WINDOW, len(_STRENGTHS)):
            raise ValueError("was written by another demure")
        return cls(starts_I1, item_E, arrays["count"], row_I, _base(item_counts_I), arrays["share"])

    def ratios(self, histories: Histories, popularity_factor_N: np.ndarray, *, ordered: bool) -> np.ndarray:
        """Return p(i | before) / p_t(i) of each interaction (N,) of new users.

        ``popularity_factor_N`` as in :class:`Transition`; ``ordered``: whether histories without times are in order of
        time.
        """
        n_items, item_N = len(self.base_I), histories.items
        if ordered and histories.times is None:
            histories = Histories(histories.indptr, item_N, np.arange(len(item_N), dtype=np.float64))
        source_E, target_E, kind_E = _pairs(histories, histories.owners)
        j, i = item_N[source_E], item_N[target_E]
        key_E = np.repeat(np.arange(n_items, dtype=np.int64), np.diff(self.starts_I1)) * n_items + self.item_E
        count_E = _look_up(key_E, self.count_E, j * np.int64(n_items) + i)
        ratio_KE = _ratios(count_E, self.row_I[j].astype(np.float64), self.base_I[i] * popularity_factor_N[target_E])
        # What the sources that a history lacks would explain goes to the popularity, whose ratio is 1.
        change_E = ((ratio_KE - 1.0) * self.share_SK.T[:, kind_E]).sum(0)
        ratio_N: np.ndarray = np.maximum(1.0 + np.bincount(target_E, change_E, len(item_N)), _TINY)
        return ratio_N


def _base(item_counts_I: np.ndarray) -> np.ndarray:
    """Return the smoothed popularity (I,) from the training interactions of each item."""
    base_I: np.ndarray = (item_counts_I + 1.0) / (item_counts_I.sum() + len(item_counts_I))
    return base_I


def _look_up(key_E: np.ndarray, count_E: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the counts of the pairs with the keys ``wanted``, 0 for pairs that are not among ``key_E``, sorted."""
    if not len(key_E):
        return np.zeros(len(wanted))
    index = np.searchsorted(key_E, wanted).clip(max=len(key_E) - 1)
    return np.where(key_E[index] == wanted, count_E[index], 0.0)


def _ratios(count_E: np.ndarray, row_E: np.ndarray, base_E: np.ndarray) -> np.ndarray:
    """Return the density ratio of every pair for every strength (K, E)."""
    return np.stack([(count_E / base_E + k) / (row_E + k) for k in _STRENGTHS])


def _pairs(train: Histories, user_N: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sources and targets (E,) as indices of interactions, and the kind of each pair, ascending.

    The kind is the distance of the source before the target or, in the upper half, after it where their times are equal
    or unknown.
    """
    position = np.arange(len(train.items))
    sources, targets, kinds = [], [], []
    for kind in range(2 * WINDOW):
        gap = kind % WINDOW + 1
        source, target = position[:-gap], position[gap:]
        if kind >= WINDOW:
            source, target = target, source
        valid = (user_N[source] == user_N[target]) & (train.items[source] != train.items[target])
        if kind >= WINDOW and train.times is not None:
            valid &= train.times[source] == train.times[target]
        sources.append(source[valid])
        targets.append(target[valid])
        kinds.append(np.full(int(valid.sum()), kind))
    return np.concatenate(sources), np.concatenate(targets), np.concatenate(kinds)
