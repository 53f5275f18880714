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
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sparse

from demure.baselines.ease import Ease

if TYPE_CHECKING:
    from demure.data.histories import Histories

_STEPS = 3
_SMOOTHING = 0.3  # pairs' worth of popularity in every row
_DENSE = 16_000_000  # entries of a matrix that may be held whole
_AT_ONCE = 5_000_000  # pairs listed before they are added up
_BACK_OFF = 0.05  # of an interaction's weight, to popularity


class Pairs:
    """The counts c (I, I), never held where they factor: c = ``sets_UI``' ``sets_UI`` less its diagonal."""

    def __init__(
        self, explicit_II: sparse.csr_array | np.ndarray | None = None, sets_UI: sparse.csr_array | None = None
    ) -> None:
        self.shape: tuple[int, int]
        if sets_UI is not None:
            self._sets, self._back = sets_UI, sets_UI.T.tocsr()
            self._own = np.asarray(sets_UI.multiply(sets_UI).sum(0)).ravel()
            self.shape = (sets_UI.shape[1], sets_UI.shape[1])
            return
        assert explicit_II is not None
        self.shape = explicit_II.shape
        self._explicit = explicit_II
        self._turned = explicit_II.T if isinstance(explicit_II, np.ndarray) else explicit_II.T.tocsr()
        self._sets = None

    def follow(self, mass_IB: sparse.csr_array | np.ndarray) -> np.ndarray:
        """c' ``mass_IB``, dense (I, B): items in rows, as the sparse products are fast."""
        if self._sets is None:
            # Only the rows that a sparse mass is at are read.
            if isinstance(mass_IB, sparse.csr_array):
                reached = (mass_IB.T.tocsr() @ self._explicit).T
            else:
                reached = self._turned @ mass_IB
            return reached.toarray() if isinstance(reached, sparse.sparray) else reached
        reached = self._back @ (self._sets @ mass_IB)
        if isinstance(mass_IB, sparse.csr_array):
            reached = (reached - sparse.diags_array(self._own) @ mass_IB).toarray()
        else:
            reached -= self._own[:, None] * mass_IB
        return reached

    def towards(self, weight_I: np.ndarray) -> np.ndarray:
        """c ``weight_I``, (I,)."""
        if self._sets is None:
            return np.asarray(self._explicit @ weight_I)
        return np.asarray(self._back @ (self._sets @ weight_I)) - self._own * weight_I

    def tocsr(self) -> sparse.csr_array:
        """c itself."""
        if self._sets is None:
            return sparse.csr_array(self._explicit)
        found = (self._back @ self._sets).tocsr()
        found.setdiag(0.0)
        found.eliminate_zeros()
        return found


def count_pairs(
    indptr: np.ndarray, items: np.ndarray, n_items: int, window: int, *, nearness: float = 0.0, shared: float = 0.0
) -> Pairs:
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
        return Pairs(sets_UI=taken)
    total: sparse.csr_array | np.ndarray = sparse.csr_array(shape, dtype=np.float64)
    if n_items**2 <= _DENSE:
        total = np.zeros(shape)
    held = 0
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    widest = min(window, int(length.max(initial=1)) - 1)
    for gap in range(1, widest + 1):
        pair = (user[gap:] == user[:-gap]) & (items[gap:] != items[:-gap])
        source, target, weight = items[:-gap][pair], items[gap:][pair], worth[gap:][pair] * gap**-nearness
        parts += [(source, target, weight), (target, source, weight / 2)]
        held += len(weight)
        if held > _AT_ONCE or gap == widest:
            rows, columns, values = (np.concatenate(part) for part in zip(*parts, strict=True))
            if isinstance(total, np.ndarray):
                total += np.bincount(rows * n_items + columns, values, n_items**2).reshape(shape)
            else:
                total = total + sparse.coo_array((values, (rows, columns)), shape=shape).tocsr()
            parts, held = [], 0
    return Pairs(total)


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
    """The ``id`` channel over the ``pairs`` of :func:`count_pairs`, made with the same ``walk``, and ``popularity``
    (I,) interactions per item; ``linear_II`` the weights of the linear model, needed where ``walk.linear`` is not 0."""

    def __init__(self, pairs: Pairs, popularity: np.ndarray, walk: Walk, linear_II: np.ndarray | None = None) -> None:
        self.walk, self.linear_II, self._pairs = walk, linear_II, pairs
        self.share_I = (popularity + 1.0) / (popularity + 1.0).sum()
        self._worth = (popularity + 1.0) ** -walk.exponent
        self._rows = pairs.towards(self._worth) + _SMOOTHING

    def steps(self) -> sparse.csr_array:
        """P (I, I): row j, a step of the walk from j; what a row lacks of 1 is the popularity's."""
        return (sparse.diags_array(1.0 / self._rows) @ self._pairs.tocsr() @ sparse.diags_array(self._worth)).tocsr()

    def density(self, items_BT: np.ndarray) -> np.ndarray:
        """p_id(i | history) (B, I), rows summing to 1, from histories padded with -1 at the end, oldest first.

        A user without a history gets the popularity.
        """
        walked = self._walked(items_BT)
        if not self.walk.linear or self.linear_II is None:
            return walked
        return (1 - self.walk.linear) * walked + self.walk.linear * self._regressed(items_BT, self.linear_II)

    def _regressed(self, items_BT: np.ndarray, linear_II: np.ndarray) -> np.ndarray:
        row, column = np.nonzero(items_BT >= 0)
        taken = sparse.csr_array(
            (np.ones(len(row), np.float32), (row, items_BT[row, column])), (len(items_BT), len(linear_II))
        )
        taken.data[:] = 1.0  # an item taken twice counts once, as in the fit
        score = np.maximum(taken @ linear_II, 0.0)
        mass = score.sum(1, keepdims=True)
        back_off = _BACK_OFF * mass + 1e-6
        density: np.ndarray = (score + back_off * self.share_I) / (mass + back_off)
        return density

    def _walked(self, items_BT: np.ndarray) -> np.ndarray:
        valid = items_BT >= 0
        B, T = items_BT.shape
        age = np.maximum(valid.sum(1, keepdims=True) - np.arange(T), 1.0)
        weight = valid * age**-self.walk.fading
        row = np.nonzero(valid)[0]
        from_items = weight[valid] / self._rows[items_BT[valid]]
        start = sparse.csr_array((from_items, (items_BT[valid], row)), shape=(len(self.share_I), B))
        worth_I1, rows_I1 = self._worth[:, None], self._rows[:, None]
        reached = self._pairs.follow(start) * worth_I1
        density, total = reached, 1.0
        if self.walk.further:
            for step in range(1, _STEPS):
                reached = self._pairs.follow(reached / rows_I1) * worth_I1
                density = density + self.walk.further**step * reached
            total = sum(self.walk.further**step for step in range(_STEPS))
        density = density.T
        total_B1 = weight.sum(1, keepdims=True) * total + _BACK_OFF
        lost = total_B1 - density.sum(1, keepdims=True)
        found: np.ndarray = (density + lost * self.share_I) / total_B1
        return found


def neighbours_of(train: Histories, popularity: np.ndarray, walk: Walk, window: int) -> Neighbours:
    """The ``id`` channel of ``train`` with the numbers ``walk``."""
    pairs = count_pairs(train.indptr, train.items, len(popularity), window, nearness=walk.nearness, shared=walk.shared)
    return Neighbours(pairs, popularity, walk, linear_model(train, len(popularity)) if walk.linear else None)


def linear_model(train: Histories, n_items: int) -> np.ndarray:
    """The weights (I, I) of the linear part of the ``id`` channel."""
    ease = Ease()
    ease.fit(train, n_items)
    return ease.weights
