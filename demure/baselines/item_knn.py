"""Item-to-item neighbourhoods: users of this item also chose that item; with decay, close to it in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from demure.baselines.sparse import UsersOfPairs, history_matrix, product_scorer
from demure.data.user_sums import Sums, sum_users

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from demure.data.histories import Histories
    from demure.evaluation.ranking import ArrayScorer


@dataclass(frozen=True)
class ItemKNNOptions:
    """``neighbours`` kept per item (0 = all); ``shrink`` >= 0 of similarities between rare items; ``decay`` >= 0 of a
    pair with its gap; ``window``: the widest gap."""

    neighbours: int = 0
    shrink: float = 0.0
    decay: float = 0.0
    window: int = 50


class ItemKNN:
    """Score = history times K, where K(i, j) = c(i, j) / (sqrt(n_i n_j) + shrink) and K(i, i) = 0.

    n_i is the number of users of item i. Without decay c(i, j) is the number of users of both: cosine similarity, which
    ``shrink`` lowers for pairs of rare items (Dacrema et al., RecSys 2019, arXiv 1907.06902). With decay each user of
    both counts gap ** -decay, where gap is the number of steps between the two in that user's history, up to ``window``
    steps; and the history that scores a user decays in the same way. Of each item the ``neighbours`` most similar items
    are kept (0 = all).
    """

    def __init__(self, options: ItemKNNOptions | None = None) -> None:
        self.options = options or ItemKNNOptions()

    def fit(self, train: Histories, n_items: int) -> None:
        """Count the pairs of all users. Raises ``DemureError`` for a decay of histories without an order."""
        self.fit_sums(sum_users(self.summed(n_items), train))

    def summed(self, n_items: int) -> UsersOfPairs | DecayedPairs:
        """Return what is summed over users: the users of each item and pair, or with decay what they count."""
        decay = self.options.decay
        return DecayedPairs(n_items, decay, self.options.window) if decay else UsersOfPairs(n_items)

    def fit_sums(self, sums: Sums) -> None:
        """Fit the sums over all users."""
        if self.options.decay:
            users_of, forwards = sums
            counts = (forwards + forwards.T).tocsr()
        else:
            counts = sums[0].sorted_indices()
            users_of = counts.diagonal()
            counts.setdiag(0)
            counts.eliminate_zeros()
        kernel = counts.tocoo()
        root = np.sqrt(np.maximum(users_of, 1).astype(np.float32))
        kernel.data = kernel.data / (root[kernel.coords[0]] * root[kernel.coords[1]] + np.float32(self.options.shrink))
        kernel = kernel.tocsr()
        self._kernel = _keep_strongest(kernel, self.options.neighbours) if self.options.neighbours else kernel

    def scorer(self, histories: Histories) -> ArrayScorer:
        """Return a scorer of users by ``histories``."""
        return product_scorer(history_matrix(histories, self._kernel.shape[0], decay=self.options.decay), self._kernel)

    def kernel(self) -> csr_array:
        """Return K (I, I), after ``fit``."""
        return self._kernel


@dataclass(frozen=True)
class DecayedPairs:
    """The users of each item (I,) int64, and the sum over users and pairs of gap ** -decay (I, I) float32, the earlier
    item in the row; one pass over all histories per gap."""

    n_items: int
    decay: float
    window: int
    whole = False

    def of(self, histories: Histories) -> Sums:
        """Return the sums. Raises ``DemureError`` for histories without an order."""
        from scipy.sparse import csr_array

        # With decay, so that histories without an order are refused here and not only when scoring.
        latest = history_matrix(histories, self.n_items, decay=self.decay)
        users, longest = histories.owners, int(histories.lengths.max(initial=0))
        items = histories.items.astype(np.int32)
        total = csr_array((self.n_items, self.n_items), dtype=np.float32)
        for gap in range(1, min(self.window, longest - 1) + 1):
            early, late = items[:-gap], items[gap:]
            pair = (users[:-gap] == users[gap:]) & (early != late)
            weights = np.full(int(pair.sum()), float(gap) ** -self.decay, dtype=np.float32)
            total = total + csr_array((weights, (early[pair], late[pair])), shape=total.shape)
        return np.bincount(latest.indices, minlength=self.n_items), total


def _keep_strongest(kernel: csr_array, neighbours: int) -> csr_array:
    """Return the ``neighbours`` largest entries of each row, the lower column first among equals."""
    from scipy.sparse import csr_array

    rows = np.repeat(np.arange(kernel.shape[0]), np.diff(kernel.indptr))
    order = np.lexsort((kernel.indices, -kernel.data, rows))
    rank = np.arange(len(order)) - kernel.indptr[rows[order]]
    kept = order[rank < neighbours]
    return csr_array((kernel.data[kept], (rows[kept], kernel.indices[kept])), shape=kernel.shape)
