"""The collaborative channel ``id``: what items are taken together, near each other in time.

The expert is a random walk from item to item. Its steps are P(i | j) proportional to c_ji n_i^-b, with c_ji the
co-occurrences of j and i over all users: each pair worth gap^-p, gap its distance in the user's history, half of that
backwards, all over L^-s for a user with L interactions. Walks start from the history, an item ``age`` steps back with
weight age^-gamma, and go one step or, each further one worth h as much as the one before, three. Order-aware item
co-occurrence is the strong simple baseline of sequential recommendation (Ludewig and Jannach, "Evaluation of
session-based recommendation algorithms", UMUAI 2018), walks of several steps that of sparse data without order
(Cooper et al., "Random walks in recommender systems", WWW 2014). A user's own pairs never speak for an item that is
still new to the user, so nothing has to be left out when recommending.

A walk that fades follows the latest interactions. What the whole history says, whatever its order, comes from a linear
model, its positive scores normalised, where the items are few enough for one (EASE; Steck, WWW 2019): a share of the
density.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse

_STEPS = 3
_SMOOTHING = 0.3  # pairs' worth of popularity in every row
_BACK_OFF = 0.05  # of an interaction's weight, to popularity


def count_pairs(
    indptr: np.ndarray, items: np.ndarray, n_items: int, window: int, *, nearness: float = 0.0, shared: float = 0.0
) -> sparse.csr_array:
    """c (I, I): row j, column i, over all users, from histories (U+1,) and (N,).

    ``nearness`` p: 0 counts every pair of a history alike and both ways; above it a pair counts gap^-p, backwards
    half, not at all beyond ``window`` positions. ``shared`` s: how far long histories are scaled down.
    """
    length = np.diff(indptr)
    user = np.repeat(np.arange(len(length)), length)
    worth = length[user].astype(np.float64) ** -shared
    shape = (n_items, n_items)
    if nearness == 0.0:
        taken = sparse.coo_array((np.sqrt(worth), (user, items)), shape=(len(length), n_items)).tocsr()
        pairs = (taken.T @ taken).tocsr()
        pairs.setdiag(0.0)
        pairs.eliminate_zeros()
        return pairs
    total = sparse.csr_array(shape, dtype=np.float64)
    for gap in range(1, min(window, int(length.max(initial=1)) - 1) + 1):
        pair = (user[gap:] == user[:-gap]) & (items[gap:] != items[:-gap])
        source, target, weight = items[:-gap][pair], items[gap:][pair], worth[gap:][pair] * gap**-nearness
        total = total + sparse.coo_array((weight, (source, target)), shape=shape).tocsr()
        total = total + sparse.coo_array((weight / 2, (target, source)), shape=shape).tocsr()
    return total


@dataclass(frozen=True)
class Walk:
    """The numbers of the ``id`` channel, chosen on the validation split: ``nearness`` p, ``shared`` s, ``exponent`` b,
    ``fading`` gamma, ``further`` h, and ``linear``, the share of the linear model in the density."""

    nearness: float = 1.0
    shared: float = 0.0
    exponent: float = 0.4
    fading: float = 1.0
    further: float = 0.0
    linear: float = 0.0


class Neighbours:
    """The ``id`` channel over ``counts`` (I, I) of :func:`count_pairs`, made with the same ``walk``, and ``popularity``
    (I,) interactions per item; ``linear_II`` the weights of the linear model, needed where ``walk.linear`` is not 0."""

    def __init__(
        self, counts: sparse.csr_array, popularity: np.ndarray, walk: Walk, linear_II: np.ndarray | None = None
    ) -> None:
        self.walk, self._linear_II = walk, linear_II
        self._share = (popularity + 1.0) / (popularity + 1.0).sum()
        steps = counts * ((popularity + 1.0) ** -walk.exponent)[None, :]
        self._rows = np.asarray(steps.sum(1)).ravel() + _SMOOTHING
        self._steps = (sparse.diags_array(1.0 / self._rows) @ steps).tocsr()

    def density(self, items_BT: np.ndarray) -> np.ndarray:
        """p_id(i | history) (B, I), rows summing to 1, from histories padded with -1 at the end, oldest first.

        A user without a history gets the popularity.
        """
        walked = self._walked(items_BT)
        if not self.walk.linear or self._linear_II is None:
            return walked
        return (1 - self.walk.linear) * walked + self.walk.linear * self._regressed(items_BT, self._linear_II)

    def _regressed(self, items_BT: np.ndarray, linear_II: np.ndarray) -> np.ndarray:
        row, column = np.nonzero(items_BT >= 0)
        taken = sparse.csr_array(
            (np.ones(len(row), np.float32), (row, items_BT[row, column])), (len(items_BT), len(linear_II))
        )
        taken.data[:] = 1.0  # an item taken twice counts once, as in the fit
        score = np.maximum(taken @ linear_II, 0.0)
        mass = score.sum(1, keepdims=True)
        back_off = _BACK_OFF * mass + 1e-6
        density: np.ndarray = (score + back_off * self._share) / (mass + back_off)
        return density

    def _walked(self, items_BT: np.ndarray) -> np.ndarray:
        valid = items_BT >= 0
        B, T = items_BT.shape
        age = np.maximum(valid.sum(1, keepdims=True) - np.arange(T), 1.0)
        weight = valid * age**-self.walk.fading
        start = sparse.csr_array((weight[valid], (np.nonzero(valid)[0], items_BT[valid])), shape=(B, len(self._share)))
        reached = np.asarray((start @ self._steps).todense())
        density, total = reached, np.ones((B, 1))
        if self.walk.further:
            for step in range(1, _STEPS):
                reached = reached @ self._steps
                density = density + self.walk.further**step * reached
            total = total * sum(self.walk.further**step for step in range(_STEPS))
        total = weight.sum(1, keepdims=True) * total + _BACK_OFF
        # What the walks lose to smoothing on their way is popularity's.
        return (density + (total - density.sum(1, keepdims=True)) * self._share) / total
