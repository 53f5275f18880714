"""The k-core: the largest part in which every user and every item has at least k interactions."""

from __future__ import annotations

import numpy as np


def k_core(users: np.ndarray, items: np.ndarray, k: int) -> np.ndarray:
    """(N,) bool: which interactions of ``users`` and ``items`` (N,) int64 codes are in the k-core."""
    kept = np.ones(len(users), bool)
    n_users, n_items = int(users.max(initial=-1)) + 1, int(items.max(initial=-1)) + 1
    while True:
        user_counts = np.bincount(users[kept], minlength=n_users)
        item_counts = np.bincount(items[kept], minlength=n_items)
        left = kept & (user_counts[users] >= k) & (item_counts[items] >= k)
        if left.sum() == kept.sum():
            return left
        kept = left
