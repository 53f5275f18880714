"""Score items by their popularity, for every user alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

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
        self._counts = np.bincount(train.items, minlength=n_items).astype(np.float32)

    def scorer(self, histories: Histories) -> ArrayScorer:
        return lambda users: np.tile(self._counts, (len(users), 1))
