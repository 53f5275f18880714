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
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from demure.data.histories import Histories

WINDOW = 5
"""Largest distance of a pair in a history."""
_STRENGTHS = (0.3, 1.0, 3.0, 10.0, 100.0)
_EM_STEPS = 5
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
        self._base_I = (np.bincount(item_N, minlength=n_items) + 1.0) / (len(item_N) + n_items)
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
        count_E = self._count[self._pair_E] - np.bincount(self._own_pair_E, weight_E)[self._own_pair_E]
        row_E = self._row_I[self._from_E] - np.bincount(self._own_from_E, weight_E)[self._own_from_E]
        ratio_EK = _ratios(np.maximum(count_E, 0.0), np.maximum(row_E, 0.0), self._base_E)
        kinds = [slice(*self._kind_starts[kind : kind + 2]) for kind in range(2 * WINDOW)]
        for _ in range(_EM_STEPS):
            share_SK = self.share_SK
            # Sums over the strengths, kind by kind: products with vectors, without arrays of pairs x strengths.
            density_E = np.concatenate(
                [ratio_EK[rows] @ share_K for rows, share_K in zip(kinds, share_SK, strict=True)]
            )
            density_N = np.bincount(self._target_E, density_E, self._n)
            scale_E = (weight_N / np.maximum(density_N, _TINY))[self._target_E]
            expected_SK = np.stack([scale_E[rows] @ ratio_EK[rows] for rows in kinds]) * share_SK
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

    def next_ratio(self, before_BW: np.ndarray, item_B: np.ndarray, popularity_factor_B: np.ndarray) -> np.ndarray:
        """Return p(i | before) / p_t(i) (B,) of interactions after the training.

        ``before_BW``: the last items, newest first, -1 for none; ``popularity_factor_B`` as ``popularity_factor_N``.
        """
        ratio_B = np.ones(len(item_B))
        for gap, from_B in enumerate(before_BW.T[:WINDOW]):
            rows = np.flatnonzero((from_B >= 0) & (from_B != item_B))
            key = from_B[rows] * np.int64(self._n_items) + item_B[rows]
            index = np.searchsorted(self._key, key).clip(max=max(len(self._key) - 1, 0))
            count = (
                np.where(self._key[index] == key, self._count[index], 0.0) if len(self._key) else np.zeros(len(rows))
            )
            base = self._base_I[item_B[rows]] * popularity_factor_B[rows]
            share_K = self.share_SK[gap]
            ratio_B[rows] += _ratios(count, self._row_I[from_B[rows]], base) @ share_K - share_K.sum()
        return np.maximum(ratio_B, _TINY)


def _ratios(count_E: np.ndarray, row_E: np.ndarray, base_E: np.ndarray) -> np.ndarray:
    """Return the density ratio of every pair for every strength (E, K)."""
    return np.stack([(count_E / base_E + k) / (row_E + k) for k in _STRENGTHS], 1)


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
