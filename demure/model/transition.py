"""Rival of content: what goes with the choices before, habit and sets bought together.

p(i | j) for the choices i that follow j, from the soft counts c_ji of other users' pairs, (c_ji + k p(i)) / (c_j + k);
a choice is told by a mixture over the choices before it and over the strength k of the prior. The mixture's shares are
learned by EM. Where choices share a time their order is not known, and both directions count.

Shape suffixes: N training interactions, E pairs of them, S kinds of source (how far before), K strengths.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from demure.data.histories import Histories

WINDOW = 5
_STRENGTHS = (0.3, 1.0, 3.0, 10.0, 100.0)
_STEPS = 5
_TINY = 1e-12


class Transition:
    """Soft counts over the training interactions, of users ``user_N``. ``factor_N``: how much more popular each item
    was at the time of the interaction than on the whole."""

    def __init__(self, train: Histories, user_N: np.ndarray, n_items: int, factor_N: np.ndarray) -> None:
        item_N = train.items
        source_E, self._target_E, self._kind_E = _pairs(train, user_N)
        j, i, user = item_N[source_E], item_N[self._target_E], user_N[self._target_E]
        self._n, self._n_items, self._from_E = len(item_N), n_items, j
        self._key, self._pair_E = np.unique(j * np.int64(n_items) + i, return_inverse=True)
        # What its own user did does not speak for a choice.
        self._own_pair_E = np.unique(user * np.int64(len(self._key) + 1) + self._pair_E, return_inverse=True)[1]
        self._own_from_E = np.unique(user * np.int64(n_items) + j, return_inverse=True)[1]
        self._base_I = (np.bincount(item_N, minlength=n_items) + 1.0) / (len(item_N) + n_items)
        self._base_E = self._base_I[i] * factor_N[self._target_E]
        self.share_SK = np.full((2 * WINDOW, len(_STRENGTHS)), 1.0 / (2 * WINDOW * len(_STRENGTHS)))
        self._count: np.ndarray = np.zeros(len(self._key))
        self._row_I: np.ndarray = np.zeros(n_items)

    def update(self, weight_N: np.ndarray) -> np.ndarray:
        """Count every choice with ``weight_N``, and return p(i | before) / p_t(i) of each (N,)."""
        if not len(self._pair_E):
            return np.ones(self._n)
        weight_E = weight_N[self._target_E] * self.share_SK.sum(1)[self._kind_E]
        self._count = np.bincount(self._pair_E, weight_E, len(self._key))
        self._row_I = np.bincount(self._from_E, weight_E, self._n_items)
        count_E = self._count[self._pair_E] - np.bincount(self._own_pair_E, weight_E)[self._own_pair_E]
        row_E = self._row_I[self._from_E] - np.bincount(self._own_from_E, weight_E)[self._own_from_E]
        ratio_EK = _ratios(np.maximum(count_E, 0.0), np.maximum(row_E, 0.0), self._base_E)
        for _ in range(_STEPS):
            share_EK = self.share_SK[self._kind_E]
            joint_EK = share_EK * ratio_EK
            density_N = np.bincount(self._target_E, joint_EK.sum(1), self._n)
            post_EK = joint_EK / np.maximum(density_N, _TINY)[self._target_E][:, None]
            weighted_EK = weight_N[self._target_E][:, None] * post_EK
            new = [np.bincount(self._kind_E, weighted_EK[:, k], 2 * WINDOW) for k in range(len(_STRENGTHS))]
            self.share_SK = np.stack(new, 1) + 1e-3
            self.share_SK /= self.share_SK.sum()
        lacking_N = 1.0 - np.bincount(self._target_E, share_EK.sum(1), self._n)  # sources that a short history lacks
        return np.maximum(lacking_N, 0.0) + density_N

    def state(self) -> dict[str, np.ndarray]:
        """What was fitted."""
        return {name: getattr(self, name) for name in ("share_SK", "_count", "_row_I")}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up a :meth:`state`."""
        for name, array in state.items():
            setattr(self, name, array)

    def after(self, before_BW: np.ndarray, item_B: np.ndarray, factor_B: np.ndarray) -> np.ndarray:
        """The same ratio (B,) for choices that follow the training, ``before_BW`` the last items, newest first, -1 for
        none."""
        ratio_B = np.ones(len(item_B))
        for gap, from_B in enumerate(before_BW.T[:WINDOW]):
            there = np.flatnonzero((from_B >= 0) & (from_B != item_B))
            wanted = from_B[there] * np.int64(self._n_items) + item_B[there]
            at = np.searchsorted(self._key, wanted).clip(max=max(len(self._key) - 1, 0))
            count = np.where(self._key[at] == wanted, self._count[at], 0.0) if len(self._key) else np.zeros(len(there))
            base = self._base_I[item_B[there]] * factor_B[there]
            share_K = self.share_SK[gap]
            ratio_B[there] += _ratios(count, self._row_I[from_B[there]], base) @ share_K - share_K.sum()
        return np.maximum(ratio_B, _TINY)


def _ratios(count_E: np.ndarray, row_E: np.ndarray, base_E: np.ndarray) -> np.ndarray:
    return np.stack([(count_E / base_E + k) / (row_E + k) for k in _STRENGTHS], 1)


def _pairs(train: Histories, user_N: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sources and targets (E,) as numbers of interactions, and the kind of each pair: how far before it is, or, in the
    upper half, after it where time does not tell which came first."""
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
