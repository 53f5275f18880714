"""What every baseline is: something fitted on training histories that scores users by the history they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from demure.evaluation.ranking import Scorer

if TYPE_CHECKING:
    from demure.data.histories import Histories


class Baseline(Protocol):
    """A recommender without content: interactions in, scores out.

    Fitting and scoring take histories apart, so that a test can fit on ``train`` alone and score users by ``train`` and
    ``valid``. Both are over the same users and items; what is fitted depends on nothing but its input (no seed).
    """

    def fit(self, train: Histories, n_items: int) -> None:
        """Learn from the training histories of U users over items 0 .. ``n_items`` - 1."""

    def scorer(self, histories: Histories) -> Scorer:
        """A scorer of users (B,) -> (B, n_items) float32, each by its own history; to be called after ``fit``."""
