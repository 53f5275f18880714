"""The item-item model (channel ``id``): which items are chosen together, near each other in time.

It is a random walk from item to item. A step has the probability P(i | j) proportional to c_ji n_i^-b, where c_ji is
the co-occurrence of j and i over all users: a pair counts gap^-p, with gap its distance in the user's history, half of
that backwards, all times L^-s for a user with L interactions. The walk starts from the history, an item ``age`` steps
back with weight age^-gamma, and makes one step or, each further one weighing h times the one before, three. Order-aware
item co-occurrence is the strong simple baseline of sequential recommendation (Ludewig and Jannach, "Evaluation of
session-based recommendation algorithms", UMUAI 2018); walks of several steps are that of sparse data without order
(Cooper et al., "Random walks in recommender systems", WWW 2014). A user's own pairs are no evidence for an item that is
new to the user, so nothing has to be left out when recommending.

The walk follows the latest interactions. A linear model of the whole history, whatever its order, has a share of the
density where the items are few enough for one, its positive scores normalised (EASE; Steck, WWW 2019).

Shape suffixes: B users of a batch, T positions of a history, U users, I items.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sparse

from demure.baselines.ease import Ease
from demure.model.item_item_density import ItemItemParameters, item_item_density, recency_weights

if TYPE_CHECKING:
    from demure.data.histories import Histories

_SMOOTHING = 0.3  # pairs' worth of popularity in every row
_DENSE_ENTRIES = 16_000_000  # of a matrix that may be held whole
_PAIRS_AT_ONCE = 5_000_000  # listed before they are added up


class Pairs:
    """The co-occurrence counts c (I, I), from ``explicit_II`` or from the factor ``sets_UI``.

    With ``sets_UI``, c is its Gram matrix without the diagonal, and is never held.
    """

    def __init__(
        self, explicit_II: sparse.csr_array | np.ndarray | None = None, sets_UI: sparse.csr_array | None = None
    ) -> None:
        self.shape: tuple[int, int]
        if sets_UI is not None:
            self._sets, self._transposed_sets = sets_UI, sets_UI.T.tocsr()
            self._diagonal = np.asarray(sets_UI.multiply(sets_UI).sum(0)).ravel()
            self.shape = (sets_UI.shape[1], sets_UI.shape[1])
            return
        assert explicit_II is not None
        self.shape = explicit_II.shape
        self._explicit = explicit_II
        self._transposed = explicit_II.T if isinstance(explicit_II, np.ndarray) else explicit_II.T.tocsr()
        self._sets = None

    def follow(self, mass_IB: sparse.csr_array | np.ndarray) -> np.ndarray:
        """Return c' ``mass_IB``, dense (I, B). Items are in the rows because the sparse products are faster so."""
        reached_IB: np.ndarray
        if self._sets is None:
            # With a sparse mass, only the rows where it is not 0 are read.
            if isinstance(mass_IB, sparse.csr_array):
                reached = (mass_IB.T.tocsr() @ self._explicit).T
            else:
                reached = self._transposed @ mass_IB
            reached_IB = reached.toarray() if isinstance(reached, sparse.sparray) else reached
            return reached_IB
        reached = self._transposed_sets @ (self._sets @ mass_IB)
        if isinstance(mass_IB, sparse.csr_array):
            reached_IB = (reached - sparse.diags_array(self._diagonal) @ mass_IB).toarray()
        else:
            reached_IB = reached
            reached_IB -= self._diagonal[:, None] * mass_IB
        return reached_IB

    def times(self, weight_I: np.ndarray) -> np.ndarray:
        """Return c ``weight_I``, (I,)."""
        if self._sets is None:
            return np.asarray(self._explicit @ weight_I)
        return np.asarray(self._transposed_sets @ (self._sets @ weight_I) - self._diagonal * weight_I)

    def with_new_items(self, count: int) -> Pairs:
        """Return the counts with ``count`` further items that occur in no pair."""
        shape = (self.shape[0] + count, self.shape[1] + count)
        if self._sets is not None:
            return Pairs(sets_UI=_widened(self._sets, (self._sets.shape[0], shape[1])))
        if isinstance(self._explicit, np.ndarray):
            return Pairs(np.pad(self._explicit, (0, count)))
        return Pairs(_widened(self._explicit, shape))

    def tocsr(self) -> sparse.csr_array:
        """Return c as a sparse matrix."""
        if self._sets is None:
            return sparse.csr_array(self._explicit)
        counts_II = (self._transposed_sets @ self._sets).tocsr()
        counts_II.setdiag(0.0)
        counts_II.eliminate_zeros()
        return counts_II


def count_pairs(
    indptr: np.ndarray, items: np.ndarray, n_items: int, window: int, *, nearness: float = 0.0, shared: float = 0.0
) -> Pairs:
    """Return c (I, I), row j and column i, over all users, from histories ``indptr`` (U+1,) and ``items`` (N,).

    ``nearness`` p: 0 counts every pair of a history equally and both ways; above it a pair counts gap^-p, half of that
    backwards, and not at all beyond ``window`` positions. ``shared`` s: how far long histories are scaled down.
    """
    length = np.diff(indptr)
    user = np.repeat(np.arange(len(length)), length)
    scale = length[user].astype(np.float64) ** -shared
    shape = (n_items, n_items)
    if nearness == 0.0:
        sets_UI = sparse.coo_array((np.sqrt(scale), (user, items)), shape=(len(length), n_items)).tocsr()
        return Pairs(sets_UI=sets_UI)
    total: sparse.csr_array | np.ndarray = sparse.csr_array(shape, dtype=np.float64)
    if n_items**2 <= _DENSE_ENTRIES:
        total = np.zeros(shape)
    listed = 0
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    widest = min(window, int(length.max(initial=1)) - 1)
    for gap in range(1, widest + 1):
        pair = (user[gap:] == user[:-gap]) & (items[gap:] != items[:-gap])
        source, target, weight = items[:-gap][pair], items[gap:][pair], scale[gap:][pair] * gap**-nearness
        parts += [(source, target, weight), (target, source, weight / 2)]
        listed += len(weight)
        if listed > _PAIRS_AT_ONCE or gap == widest:
            rows, columns, values = (np.concatenate(part) for part in zip(*parts, strict=True))
            if isinstance(total, np.ndarray):
                total += np.bincount(rows * n_items + columns, values, n_items**2).reshape(shape)
            else:
                total = total + sparse.coo_array((values, (rows, columns)), shape=shape).tocsr()
            parts, listed = [], 0
    return Pairs(total)


def _widened(matrix: sparse.csr_array, shape: tuple[int, int]) -> sparse.csr_array:
    """Return a copy of the matrix with further rows and columns of zeros."""
    wide = matrix.copy()
    wide.resize(shape)
    return wide


class ItemItemModel:
    """The item-item model over the ``pairs`` that :func:`count_pairs` counted with the same ``parameters``.

    ``popularity`` (I,): interactions per item. ``linear_II``: weights of the linear model, needed where
    ``parameters.linear`` is not 0.
    """

    def __init__(
        self,
        pairs: Pairs,
        popularity: np.ndarray,
        parameters: ItemItemParameters,
        linear_II: np.ndarray | None = None,
    ) -> None:
        self.parameters, self.linear_II, self._pairs = parameters, linear_II, pairs
        self.share_I = (popularity + 1.0) / (popularity + 1.0).sum()
        self._target_weight_I = (popularity + 1.0) ** -parameters.exponent
        self._row_sum_I = pairs.times(self._target_weight_I) + _SMOOTHING

    def with_new_items(self, popularity: np.ndarray) -> ItemItemModel:
        """Return the model with further items without interactions; ``popularity`` of all items, old and new."""
        count = len(popularity) - len(self.share_I)
        linear_II = None if self.linear_II is None else np.pad(self.linear_II, (0, count))
        return ItemItemModel(self._pairs.with_new_items(count), popularity, self.parameters, linear_II)

    def steps(self) -> sparse.csr_array:
        """Return P (I, I): row j is one step of the walk from j. The popularity has what a row lacks of 1."""
        rows, columns = sparse.diags_array(1.0 / self._row_sum_I), sparse.diags_array(self._target_weight_I)
        return (rows @ self._pairs.tocsr() @ columns).tocsr()

    def density(self, items_BT: np.ndarray) -> np.ndarray:
        """Return p_id(i | history) (B, I), rows summing to 1, from histories padded with -1 at the end, oldest first.

        A user without a history gets the popularity.
        """
        valid_BT = items_BT >= 0
        weight_BT = recency_weights(items_BT, self.parameters.fading)
        start = weight_BT[valid_BT] / self._row_sum_I[items_BT[valid_BT]]
        shape = (len(self.share_I), len(items_BT))
        start_IB = sparse.csr_array((start, (items_BT[valid_BT], np.nonzero(valid_BT)[0])), shape=shape)
        target_weight_I1, row_sum_I1 = self._target_weight_I[:, None], self._row_sum_I[:, None]

        def step(mass_BI: np.ndarray) -> np.ndarray:
            reached: np.ndarray = (self._pairs.follow(mass_BI.T / row_sum_I1) * target_weight_I1).T
            return reached

        reached_BI = (self._pairs.follow(start_IB) * target_weight_I1).T
        score_BI = None
        if self.parameters.linear and self.linear_II is not None:
            score_BI = linear_scores(items_BT, self.linear_II)
        return item_item_density(reached_BI, step, weight_BT, self.share_I, self.parameters, score_BI)


def linear_scores(items_BT: np.ndarray, linear_II: np.ndarray) -> np.ndarray:
    """Return the linear model's scores (B, I), negative ones as 0; an item counts once, as in its fit."""
    row, column = np.nonzero(items_BT >= 0)
    entries = (np.ones(len(row), np.float32), (row, items_BT[row, column]))
    history_BI = sparse.csr_array(entries, (len(items_BT), len(linear_II)))
    history_BI.data[:] = 1.0
    score_BI: np.ndarray = np.maximum(history_BI @ linear_II, 0.0)
    return score_BI


def build_item_item(
    train: Histories, popularity: np.ndarray, parameters: ItemItemParameters, window: int
) -> ItemItemModel:
    """Return the item-item model of ``train``; ``window`` as in :func:`count_pairs`."""
    n_items, nearness, shared = len(popularity), parameters.nearness, parameters.shared
    pairs = count_pairs(train.indptr, train.items, n_items, window, nearness=nearness, shared=shared)
    return ItemItemModel(pairs, popularity, parameters, linear_model(train, n_items) if parameters.linear else None)


def linear_model(train: Histories, n_items: int) -> np.ndarray:
    """Return the weights (I, I) of the linear model (EASE) of ``train``."""
    ease = Ease()
    ease.fit(train, n_items)
    return ease.weights
