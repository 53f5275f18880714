"""Score items by their popularity, for every user alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from demure.data.user_sums import ItemCounts, Sums, sum_users

if TYPE_CHECKING:
    from demure.data.histories import Histories
    from demure.evaluation.ranking import ArrayScorer


@dataclass(frozen=True)
class PopularityOptions:
    """No options."""


class Popularity:
    """Score of an item = its number of training interactions, for every user alike."""

    def __init__(self, options: PopularityOptions | None = None) -> None:
        self.options = options or PopularityOptions()

    def fit(self, train: Histories, n_items: int) -> None:
        self.fit_sums(sum_users(self.summed(n_items), train))

    def summed(self, n_items: int) -> ItemCounts:
        return ItemCounts(n_items)

    def fit_sums(self, sums: Sums) -> None:
        self._counts = sums[0].astype(np.float32)

    def scorer(self, histories: Histories) -> ArrayScorer:
        return lambda users: np.tile(self._counts, (len(users), 1))
