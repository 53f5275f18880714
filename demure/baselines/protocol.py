"""The interface of closed-form baselines: fitted on training histories, they score users by a history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from demure.evaluation.ranking import ArrayScorer

if TYPE_CHECKING:
    from demure.data.histories import Histories
    from demure.data.user_sums import Sums, UserSum


class Baseline(Protocol):
    """A recommender without content: interactions in, scores out.

    Histories to fit and histories to score are passed separately, so that a test can fit on ``train`` alone and score
    users by ``train`` and ``valid``. Both are over the same users and items. The fit depends on its input alone: there
    is no seed.
    """

    def fit(self, train: Histories, n_items: int) -> None:
        """Fit the training histories of U users over items 0 .. ``n_items`` - 1."""

    def scorer(self, histories: Histories) -> ArrayScorer:
        """Return a scorer of users (B,) -> (B, n_items) float32, each by its history; to be called after ``fit``."""


@runtime_checkable
class SummedBaseline(Baseline, Protocol):
    """A baseline whose fit needs sums over users alone, which the workers of a cluster compute.

    ``fit(train, n_items)`` is ``fit_sums(sum_users(summed(n_items), train))``.
    """

    def summed(self, n_items: int) -> UserSum:
        """Return what is summed over users."""

    def fit_sums(self, sums: Sums) -> None:
        """Fit the sums over all users."""
