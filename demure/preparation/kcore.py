"""Cores: the largest part in which every user and every item has a minimum number of interactions."""

from __future__ import annotations

import numpy as np


def k_core(users: np.ndarray, items: np.ndarray, k: int, item_k: int | None = None) -> np.ndarray:
    """Return (N,) bool: the interactions of the core in which every user has ``k`` and every item ``item_k``.

    ``users`` and ``items`` (N,) codes; ``item_k`` is ``k`` by default. The counts are repeated until nothing changes.
    """
    item_k = k if item_k is None else item_k
    kept = np.ones(len(users), bool)
    while True:
        is_frequent = (np.bincount(users) >= k)[users]
        is_frequent &= (np.bincount(items) >= item_k)[items]
        if is_frequent.all():
            return kept
        kept[kept] = is_frequent
        users, items = users[is_frequent], items[is_frequent]
