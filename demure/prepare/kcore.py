"""Cores: the largest part in which every user and every item has at least so many interactions."""

from __future__ import annotations

import numpy as np


def k_core(users: np.ndarray, items: np.ndarray, k: int, item_k: int | None = None) -> np.ndarray:
    """(N,) bool: which interactions of ``users`` and ``items`` (N,) codes are in the core where every user has ``k``
    and every item ``item_k`` (default: ``k``), counted again until nothing changes."""
    item_k = k if item_k is None else item_k
    kept = np.ones(len(users), bool)
    while True:
        good = (np.bincount(users) >= k)[users]
        good &= (np.bincount(items) >= item_k)[items]
        if good.all():
            return kept
        kept[kept] = good
        users, items = users[good], items[good]
