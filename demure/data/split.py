"""Which interactions a model learns from (train), is chosen by (valid) and is judged by (test)."""

from __future__ import annotations

import numpy as np

SPLIT_NAMES = ("train", "valid", "test")
TRAIN, VALID, TEST = range(3)
EARLIER = {"valid": ("train",), "test": ("train", "valid")}  # what a part is told from, and never ranked again
SPLITS = ("leave-one-out", "ratio", "time", "given")
NEED_TIME = ("leave-one-out", "time")
LABELS = {
    "train": TRAIN, "training": TRAIN, "0": TRAIN, "valid": VALID, "validation": VALID, "val": VALID, "dev": VALID,
    "1": VALID, "test": TEST, "testing": TEST, "2": TEST,
}  # fmt: skip
_FEWEST = 3  # a user with fewer interactions is all train: one to learn from, one for each other part


def leave_one_out(users: np.ndarray) -> np.ndarray:
    """(N,) int8: each user's last interaction is test, the one before it valid.

    ``users`` (N,) int64 ascending, each user's interactions in order of time, as in all functions here.
    """
    return _by_place(users, np.where(np.bincount(users) >= _FEWEST, 1, 0), _places(users))


def ratio(users: np.ndarray, *, timed: bool, seed: int) -> np.ndarray:
    """(N,) int8: of each user's interactions a tenth, rounded, at least one, is test, and as many are valid.

    They are the user's last where ``timed``, and drawn with ``seed`` where not.
    """
    sizes = np.bincount(users)
    held = np.where(sizes >= _FEWEST, np.maximum(1, (sizes + 5) // 10), 0)
    places = _places(users)
    if not timed:
        order = np.lexsort((np.random.default_rng(seed).random(len(users)), users))
        drawn = np.empty_like(places)
        drawn[order] = places
        places = drawn
    return _by_place(users, held, places)


def by_time(times: np.ndarray) -> np.ndarray:
    """(N,) int8: one cut in time for all: from the time of the interaction at 80 % on valid, at 90 % on test.

    Interactions at the same time are in the same part.
    """
    ordered = np.sort(times)
    n = len(ordered)
    cuts = ordered[[n * 8 // 10, n * 9 // 10]]
    return np.searchsorted(cuts, times, side="right").astype(np.int8)


def _places(users: np.ndarray) -> np.ndarray:
    """(N,) int64: each interaction's place within its user, from 0."""
    sizes = np.bincount(users)
    return np.arange(len(users)) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def _by_place(users: np.ndarray, held: np.ndarray, places: np.ndarray) -> np.ndarray:
    from_end = np.bincount(users)[users] - 1 - places
    return np.where(from_end < held[users], TEST, np.where(from_end < 2 * held[users], VALID, TRAIN)).astype(np.int8)
