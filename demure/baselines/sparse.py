"""Histories as sparse matrices, with weights that decay with the distance to the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from demure.errors import DemureError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from demure.data.histories import Histories
    from demure.data.user_sums import Sums
    from demure.evaluation.ranking import ArrayScorer


def history_matrix(histories: Histories, n_items: int, *, decay: float = 0.0) -> csr_array:
    """Return the weight of each item in each user's history (U, n_items) float32, 0 where it is not in the history.

    The weight is distance ** -decay, where the last interaction has distance 1 and the one before it 2; of an item that
    occurs more than once the latest counts. Raises ``DemureError`` for a decay of histories without an order.
    """
    from scipy.sparse import csr_array

    lengths = histories.lengths
    if decay and histories.times is None:
        raise DemureError(
            "the interactions carry no timestamps, so none is nearer to the end than another",
            where="decay",
            remedy="use the form without decay, or prepare the dataset with a timestamp column",
        )
    users = np.repeat(np.arange(len(lengths)), lengths)
    latest_first = np.lexsort((-np.arange(len(users)), users))
    keys = (users * n_items + histories.items)[latest_first]
    kept = latest_first[np.unique(keys, return_index=True)[1]]
    distance = histories.indptr[users[kept] + 1] - kept
    weights = (distance.astype(np.float64) ** -decay).astype(np.float32)
    # So that the matrix and its products have their places in half the memory.
    places = users[kept].astype(np.int32), histories.items[kept].astype(np.int32)
    return csr_array((weights, places), shape=(len(lengths), n_items))


@dataclass(frozen=True)
class UsersOfPairs:
    """The number of users of each pair of items, X'X (I, I) float32 for binary X (U, I): exact below 2^24 users."""

    n_items: int
    whole = True

    def of(self, histories: Histories) -> Sums:
        interactions = history_matrix(histories, self.n_items)
        return ((interactions.T @ interactions).T,)  # by rows: it is symmetric


def product_scorer(weights: csr_array, similarity: np.ndarray | csr_array) -> ArrayScorer:
    """Return a scorer of users by ``weights[users] @ similarity``: (U, I) times (I, I), dense or sparse."""

    def score(users: np.ndarray) -> np.ndarray:
        product = weights[users] @ similarity
        return np.asarray(product if isinstance(product, np.ndarray) else product.toarray(), dtype=np.float32)

    return score
