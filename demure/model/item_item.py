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

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
import torch
from torch import Tensor

from demure.baselines.ease import Ease
from demure.data.histories import Histories
from demure.data.user_sums import ItemCounts, Sums, UserSum, sum_users
from demure.model.co_occurrence import PairCounts
from demure.model.item_item_density import ItemItemParameters, item_item_density, recency_weights
from demure.model.mass_product import CPU, MassProduct, SparseMass

_SMOOTHING = 0.3  # pairs' worth of popularity in every row


class Pairs:
    """The co-occurrence counts c (I, I), from ``explicit_II`` or from the factor ``sets_UI``, for mass on ``device``.

    With ``sets_UI``, c is its Gram matrix without the diagonal, and is never held.
    """

    def __init__(
        self,
        explicit_II: sparse.csr_array | np.ndarray | None = None,
        sets_UI: sparse.csr_array | None = None,
        device: torch.device = CPU,
    ) -> None:
        self.device, self._sets = device, sets_UI
        self.shape: tuple[int, int]
        if sets_UI is not None:
            self.shape = (sets_UI.shape[1], sets_UI.shape[1])
            sets_IU = sets_UI.T.tocsr()
            self._to_users = MassProduct(sets_IU, device, transposed=sets_UI)
            self._to_items = MassProduct(sets_UI, device, transposed=sets_IU)
            self._diagonal = np.asarray(sets_UI.multiply(sets_UI).sum(0)).ravel()
            self._diagonal_I = torch.as_tensor(self._diagonal).to(device)
            return
        assert explicit_II is not None
        self.shape = explicit_II.shape
        self._explicit = MassProduct(explicit_II, device, single=True)

    def follow(self, mass: SparseMass | Tensor) -> Tensor:
        """Return ``mass`` (B, I) times c, dense."""
        if self._sets is None:
            return self._explicit.of_sparse(mass) if isinstance(mass, SparseMass) else self._explicit(mass).contiguous()
        if isinstance(mass, SparseMass) and self._to_users.by_scipy:  # few users have the items: sparse until the end
            mass_BI = mass.tocsr()
            reached = mass_BI @ self._to_users.matrix @ self._sets - mass_BI @ sparse.diags_array(self._diagonal)
            return torch.as_tensor(reached.toarray())
        mass_BI = mass.dense(self.device) if isinstance(mass, SparseMass) else mass
        return self._to_items(self._to_users(mass_BI)).contiguous().sub_(self._diagonal_I * mass_BI)

    def times(self, weight_I: np.ndarray) -> np.ndarray:
        """Return c ``weight_I``, (I,), on the host."""
        if self._sets is None:
            return np.asarray(self._explicit.matrix @ weight_I)
        return np.asarray(self._sets.T @ (self._sets @ weight_I) - self._diagonal * weight_I)

    def with_new_items(self, count: int) -> Pairs:
        """Return the counts with ``count`` further items that occur in no pair."""
        shape = (self.shape[0] + count, self.shape[1] + count)
        if self._sets is not None:
            return Pairs(sets_UI=_widened(self._sets, (self._sets.shape[0], shape[1])), device=self.device)
        if isinstance(self._explicit.matrix, np.ndarray):
            return Pairs(np.pad(self._explicit.matrix, (0, count)), device=self.device)
        return Pairs(_widened(self._explicit.matrix, shape), device=self.device)

    def tocsr(self) -> sparse.csr_array:
        """Return c as a sparse matrix."""
        if self._sets is None:
            return sparse.csr_array(self._explicit.matrix)
        counts_II = (self._sets.T @ self._sets).tocsr()
        counts_II.setdiag(0.0)
        counts_II.eliminate_zeros()
        return counts_II


def count_pairs(
    indptr: np.ndarray,
    items: np.ndarray,
    n_items: int,
    window: int,
    *,
    nearness: float = 0.0,
    shared: float = 0.0,
    device: torch.device = CPU,
) -> Pairs:
    """Return c (I, I), row j and column i, over all users, from histories ``indptr`` (U+1,) and ``items`` (N,).

    ``nearness`` p: 0 counts every pair of a history equally and both ways; above it a pair counts gap^-p, half of that
    backwards, and not at all beyond ``window`` positions. ``shared`` s: how far long histories are scaled down.
    """
    histories = Histories(indptr, items)
    if nearness == 0.0:
        owners, shape = histories.owners, (len(histories.lengths), n_items)
        scale = histories.lengths[owners].astype(np.float64) ** -shared
        places = owners.astype(np.int32), items.astype(np.int32)  # so that the matrix has them in half the memory
        sets_UI = sparse.coo_array((np.sqrt(scale), places), shape=shape).tocsr()
        return Pairs(sets_UI=sets_UI, device=device)
    (counts_II,) = sum_users(PairCounts(n_items, window, nearness, shared), histories)
    return Pairs(counts_II, device=device)


def _widened(matrix: sparse.csr_array, shape: tuple[int, int]) -> sparse.csr_array:
    """Return a copy of the matrix with further rows and columns of zeros."""
    wide = matrix.copy()
    wide.resize(shape)
    return wide


class ItemItemModel:
    """The item-item model over the ``pairs`` that :func:`count_pairs` counted with the same ``parameters``.

    ``popularity`` (I,): interactions per item. ``linear``: product with the weights of the linear model, needed where
    ``parameters.linear`` is not 0. It computes on the device of the ``pairs``.
    """

    def __init__(
        self,
        pairs: Pairs,
        popularity: np.ndarray,
        parameters: ItemItemParameters,
        linear: MassProduct | None = None,
    ) -> None:
        self.parameters, self.linear, self._pairs = parameters, linear, pairs
        self.share_I = (popularity + 1.0) / (popularity + 1.0).sum()
        self._target_weight = (popularity + 1.0) ** -parameters.exponent
        self._row_sum = pairs.times(self._target_weight) + _SMOOTHING
        on_device = (torch.as_tensor(array).to(pairs.device) for array in (self.share_I, self._target_weight))
        self._share_I, self._target_weight_I = on_device
        self._row_sum_I = torch.as_tensor(self._row_sum).to(pairs.device)

    def with_new_items(self, popularity: np.ndarray) -> ItemItemModel:
        """Return the model with further items without interactions; ``popularity`` of all items, old and new."""
        count, linear = len(popularity) - len(self.share_I), self.linear
        linear = None if linear is None else MassProduct(np.pad(linear.matrix, (0, count)), linear.device)
        return ItemItemModel(self._pairs.with_new_items(count), popularity, self.parameters, linear)

    def steps(self) -> sparse.csr_array:
        """Return P (I, I): row j is one step of the walk from j. The popularity has what a row lacks of 1."""
        rows, columns = sparse.diags_array(1.0 / self._row_sum), sparse.diags_array(self._target_weight)
        return (rows @ self._pairs.tocsr() @ columns).tocsr()

    def density(self, items_BT: np.ndarray) -> Tensor:
        """Return p_id(i | history) (B, I), rows summing to 1, from histories padded with -1 at the end, oldest first.

        A user without a history gets the popularity.
        """
        weight_BT = recency_weights(items_BT, self.parameters.fading)
        row_N, position_N = np.nonzero(items_BT >= 0)
        item_N = items_BT[row_N, position_N]
        shape, device = (len(items_BT), len(self.share_I)), self._pairs.device
        start = SparseMass(row_N, item_N, weight_BT[row_N, position_N] / self._row_sum[item_N], shape)

        def step(mass_BI: Tensor) -> Tensor:
            return self._pairs.follow(mass_BI / self._row_sum_I).mul_(self._target_weight_I)

        reached_BI = self._pairs.follow(start).mul_(self._target_weight_I)
        score_BI = None
        if self.parameters.linear and self.linear is not None:
            # An item counts once, as in the fit of the linear model.
            place_N = np.unique(row_N * shape[1] + item_N)
            history = SparseMass(*np.divmod(place_N, shape[1]), np.ones(len(place_N), np.float32), shape)
            score_BI = self.linear.of_sparse(history).clamp_(min=0)
        on_device_BT = torch.as_tensor(weight_BT).to(device)
        return item_item_density(reached_BI, step, on_device_BT, self._share_I, self.parameters, score_BI)


@dataclass(frozen=True)
class ItemItemFit:
    """What the item-item model of given parameters takes from the interactions of all users.

    ``popularity`` (I,) float64: interactions of each item; ``pairs_II``: the explicit counts of :func:`count_pairs`,
    None where there are none; ``linear_II``: the weights of the linear model, None without one.
    """

    popularity: np.ndarray
    pairs_II: sparse.csr_array | np.ndarray | None
    linear_II: np.ndarray | None


def item_item_sums(n_items: int, parameters: ItemItemParameters, window: int) -> list[UserSum]:
    """Return what is summed over users for an :class:`ItemItemFit`."""
    sums: list[UserSum] = [ItemCounts(n_items)]
    if parameters.nearness:
        sums.append(PairCounts(n_items, window, parameters.nearness, parameters.shared))
    if parameters.linear:
        sums.append(Ease().summed(n_items))
    return sums


def fit_item_item(sums: Sequence[Sums], parameters: ItemItemParameters) -> ItemItemFit:
    """Return the fit from the values of :func:`item_item_sums` over all users."""
    values = iter(sums)
    popularity = next(values)[0].astype(np.float64)
    pairs_II = next(values)[0] if parameters.nearness else None
    return ItemItemFit(popularity, pairs_II, _linear_weights(next(values)) if parameters.linear else None)


def build_item_item(
    train: Histories,
    popularity: np.ndarray,
    parameters: ItemItemParameters,
    window: int,
    device: torch.device = CPU,
    fit: ItemItemFit | None = None,
) -> ItemItemModel:
    """Return the item-item model of ``train``; ``window`` as in :func:`count_pairs`; ``fit``: computed before."""
    if fit is not None and fit.pairs_II is not None:
        pairs = Pairs(fit.pairs_II, device=device)
    else:
        n_items, nearness, shared = len(popularity), parameters.nearness, parameters.shared
        pairs = count_pairs(train.indptr, train.items, n_items, window, nearness=nearness, shared=shared, device=device)
    linear = None
    if parameters.linear:
        weights_II = None if fit is None else fit.linear_II
        linear = linear_model(train, len(popularity), device) if weights_II is None else MassProduct(weights_II, device)
    return ItemItemModel(pairs, popularity, parameters, linear)


def linear_model(train: Histories, n_items: int, device: torch.device = CPU) -> MassProduct:
    """Return the product with the weights (I, I) of the linear model (EASE) of ``train``."""
    return MassProduct(_linear_weights(sum_users(Ease().summed(n_items), train)), device)


def _linear_weights(gram: Sums) -> np.ndarray:
    ease = Ease()
    ease.fit_sums(gram)
    return ease.weights
