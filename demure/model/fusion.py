"""The weights that fuse content and item-item co-occurrence into one score; see ``demure.model.recommender``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

HISTORY = "history"
"""``because`` of a recommended item to whose score no modality contributes most."""
_FEW = 10.0  # k: training interactions at which an item gets half of the additional content weight


@dataclass(frozen=True)
class FusionWeights:
    """Weights of the log-linear fusion: ``collaborative`` v, ``content`` w, ``scarce`` s; and ``new_items`` n_0.

    ``scarce`` gives content more weight for items with few training interactions. ``new_items``: the number of
    interactions that an item without training interactions counts as, its prior popularity.
    """

    collaborative: float = 1.0
    content: float = 0.1
    scarce: float = 0.0
    new_items: float = 0.0

    def expected_counts(self, train_counts_I: np.ndarray) -> np.ndarray:
        """Return ``train_counts_I`` with n_0 for items without training interactions (I,)."""
        return np.where(train_counts_I == 0, self.new_items, train_counts_I)

    def content_weights(self, train_counts_I: np.ndarray) -> np.ndarray:
        """Return w_i = w + s k / (n_i + k) (I,) for items with ``train_counts_I`` training interactions."""
        return (self.content + self.scarce * _FEW / (train_counts_I + _FEW)).astype(np.float32)
