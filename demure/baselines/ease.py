"""EASE: a linear item-to-item model with a closed form (H. Steck, WWW 2019, arXiv 1905.03375)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from demure.baselines.sparse import UsersOfPairs, history_matrix, product_scorer
from demure.data.user_sums import Sums, sum_users
from demure.errors import DemureError

if TYPE_CHECKING:
    from demure.data.histories import Histories
    from demure.evaluation.ranking import ArrayScorer

MOST_ITEMS = 30_000
"""The dense (I, I) matrix and its inverse, in float32, take 7 GB at this number of items."""


@dataclass(frozen=True)
class EaseOptions:
    """``regularisation`` > 0: the paper's lambda; ``decay`` >= 0 of the history with its distance to the end."""

    regularisation: float = 200.0
    decay: float = 0.0


class Ease:
    """B = I - P diag(P)^-1 with P = (X'X + regularisation * I)^-1 (equation 8); scores are the history times B.

    X (U, I) is binary. With ``decay`` above 0 the history that scores a user is weighted by distance ** -decay, which
    the paper does not have; the fit is the same. ``weights`` (I, I) is B.
    """

    def __init__(self, options: EaseOptions | None = None) -> None:
        self.options = options or EaseOptions()

    def fit(self, train: Histories, n_items: int) -> None:
        """Invert the (I, I) Gram matrix: cubic in the items. Raises ``DemureError`` above ``MOST_ITEMS``."""
        self.fit_sums(sum_users(self.summed(n_items), train))

    def summed(self, n_items: int) -> UsersOfPairs:
        """Return what is summed over users: X'X. Raises as :meth:`fit`."""
        if self.options.regularisation <= 0:
            raise DemureError("regularisation must be above 0", where="ease", remedy="200 is a good start")
        if n_items > MOST_ITEMS:
            raise DemureError(
                f"{n_items} items need a dense matrix of {n_items**2 * 4 / 2**30:.0f} GiB",
                where="ease",
                remedy=f"use item-knn above {MOST_ITEMS} items",
            )
        return UsersOfPairs(n_items)

    def fit_sums(self, sums: Sums) -> None:
        """Fit X'X, the sums over all users."""
        from scipy.linalg import cho_factor
        from scipy.linalg.lapack import spotri

        gram = sums[0].T.toarray()  # in Fortran order, in which it is inverted in place
        n_items = len(gram)
        gram[np.diag_indices(n_items)] += self.options.regularisation
        factor, lower = cho_factor(gram, lower=True, overwrite_a=True)
        # The inverse from its factor: a third of the arithmetic of solving for every column of the identity.
        triangle, _ = spotri(factor, lower=lower, overwrite_c=True)
        precision = np.tril(triangle) + np.tril(triangle, -1).T
        # In C order: a sparse product would copy any other layout each time.
        weights = np.ascontiguousarray(precision / -np.diag(precision))
        np.fill_diagonal(weights, 0.0)
        self.weights = weights

    def scorer(self, histories: Histories) -> ArrayScorer:
        """Return a scorer of users by ``histories``."""
        return product_scorer(history_matrix(histories, len(self.weights), decay=self.options.decay), self.weights)
