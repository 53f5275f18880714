"""Rows of the same user and item: which of them is kept."""

from __future__ import annotations

import numpy as np

DUPLICATES = {"latest": "the latest", "first": "the first", "best": "the best rated", "all": "all"}

_BLOCK, _BITS = 1 << 22, 1 << 22


def keep_one_of_duplicates(
    users: np.ndarray,
    items: np.ndarray,
    kept: np.ndarray,
    policy: str,
    times: np.ndarray | None,
    ratings: np.ndarray | None,
) -> np.ndarray:
    """Return (N,) bool: of the rows ``kept``, for each user and item the one that ``policy`` keeps.

    ``users`` and ``items`` (N,) codes; ``policy`` of ``DUPLICATES``. Of rows at the same time the later in the file is
    the latest, the earlier the first; of equally rated ones the latest is the best; a row without rating is the worst.
    """
    if policy == "all":
        return kept.copy()
    keys = users.astype(np.int64) * (int(items.max(initial=0)) + 1) + items
    if not kept.all():
        keys = keys[kept]
    ordered = np.sort(keys)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    del ordered
    result = kept.copy()
    if not len(repeated):
        return result
    # Most rows are not repeated: only the others are sorted by time.
    bits = np.zeros(_BITS, bool)
    bits[repeated % _BITS] = True
    blocks = range(0, len(keys), _BLOCK)
    positions = np.concatenate(
        [start + _positions_of(repeated, bits, keys[start : start + _BLOCK]) for start in blocks]
    )
    rows = positions if len(keys) == len(kept) else np.flatnonzero(kept)[positions]
    sort_keys: list[np.ndarray] = [] if times is None else [times[rows]]
    if policy == "best":
        assert ratings is not None
        sort_keys.append(np.nan_to_num(ratings[rows], nan=-np.inf))
    order = np.lexsort((*sort_keys, keys[positions]))
    sorted_keys = keys[positions][order]
    is_border = sorted_keys[1:] != sorted_keys[:-1]
    is_chosen = np.append(True, is_border) if policy == "first" else np.append(is_border, True)
    result[rows] = False
    result[rows[order[is_chosen]]] = True
    return result


def _positions_of(repeated: np.ndarray, bits: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """Return the positions of the ``keys`` that are in ``repeated``, which is sorted.

    ``bits`` has the remainders of ``repeated``, and rules most of the other keys out without a search.
    """
    candidates = np.flatnonzero(bits[keys % _BITS])
    nearest = np.minimum(np.searchsorted(repeated, keys[candidates]), len(repeated) - 1)
    positions: np.ndarray = candidates[repeated[nearest] == keys[candidates]]
    return positions
