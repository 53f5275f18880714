"""Rows of the same user and item: which of them is kept."""

from __future__ import annotations

import numpy as np

DUPLICATES = {"latest": "the latest", "first": "the first", "best": "the best rated", "all": "all"}

_BLOCK, _BITS = 1 << 22, 1 << 22


def kept_of_repeats(
    users: np.ndarray,
    items: np.ndarray,
    alive: np.ndarray,
    policy: str,
    times: np.ndarray | None,
    ratings: np.ndarray | None,
) -> np.ndarray:
    """(N,) bool: among ``alive`` the one row of its user and item that ``policy`` (of ``DUPLICATES``) keeps.

    ``users`` and ``items`` (N,) codes. Of rows at the same time the later in the file is the latest, the earlier the
    first; of equally rated ones the latest is the best; a row without rating is the worst.
    """
    if policy == "all":
        return alive.copy()
    keys = users.astype(np.int64) * (int(items.max(initial=0)) + 1) + items
    if not alive.all():
        keys = keys[alive]
    ordered = np.sort(keys)
    again = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    del ordered
    kept = alive.copy()
    if not len(again):
        return kept
    # Most rows come once: only the others are worth a sort by time.
    bits = np.zeros(_BITS, bool)
    bits[again % _BITS] = True
    within = np.concatenate([at + _found(again, bits, keys[at : at + _BLOCK]) for at in range(0, len(keys), _BLOCK)])
    rows = within if len(keys) == len(alive) else np.flatnonzero(alive)[within]
    by: list[np.ndarray] = [] if times is None else [times[rows]]
    if policy == "best":
        assert ratings is not None
        by.append(np.nan_to_num(ratings[rows], nan=-np.inf))
    order = np.lexsort((*by, keys[within]))
    sorted_keys = keys[within][order]
    border = sorted_keys[1:] != sorted_keys[:-1]
    chosen = np.append(True, border) if policy == "first" else np.append(border, True)
    kept[rows] = False
    kept[rows[order[chosen]]] = True
    return kept


def _found(again: np.ndarray, bits: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Places of ``keys`` that are in ``again``, which is sorted; ``bits`` rule most of the others out at once."""
    maybe = np.flatnonzero(bits[keys % _BITS])
    place = np.minimum(np.searchsorted(again, keys[maybe]), len(again) - 1)
    return maybe[again[place] == keys[maybe]]
