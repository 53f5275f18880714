"""Which interactions a model learns from (train), is chosen by (valid) and is judged by (test)."""

from __future__ import annotations

import numpy as np

SPLIT_NAMES = ("train", "valid", "test")
TRAIN, VALID, TEST = range(3)
EARLIER = {"valid": ("train",), "test": ("train", "valid")}  # what a part is told from, and never ranked again
SPLITS = ("leave-one-out", "ratio", "time", "given", "all")
RATIO_BY = ("auto", "time", "random")
NEED_TIME = ("leave-one-out", "time")
LABELS = {
    "train": TRAIN, "training": TRAIN, "0": TRAIN, "valid": VALID, "validation": VALID, "val": VALID, "dev": VALID,
    "1": VALID, "test": TEST, "testing": TEST, "2": TEST,
}  # fmt: skip
_FEWEST = 3  # a user with fewer interactions is all train: one to learn from, one for each other part


def leave_one_out(users: np.ndarray) -> np.ndarray:
    """(N,) int8: each user's last interaction is test, the one before it valid.

    ``users`` (N,) codes ascending, each user's interactions in order of time, as in all functions here.
    """
    one = np.where(np.bincount(users) >= _FEWEST, 1, 0)
    return _by_place(users, one, one, _places(users))


def ratio(users: np.ndarray, *, timed: bool, seed: int, shares: tuple[int, int, int] = (80, 10, 10)) -> np.ndarray:
    """(N,) int8: of each user's interactions those ``shares`` in percent, rounded, are train, valid and test.

    At least one is valid and one is test, unless their share is 0, and one stays train. They are the user's last where
    ``timed``, and drawn with ``seed`` where not.
    """
    sizes = np.bincount(users)
    enough = sizes >= _FEWEST

    def held(share: int, most: np.ndarray) -> np.ndarray:
        wanted = np.maximum(1, (sizes * share + 50) // 100) if share else np.zeros_like(sizes)
        return np.where(enough, np.minimum(wanted, most), 0)

    valid = held(shares[1], sizes - 2)
    test = held(shares[2], sizes - 1 - valid)
    places = _places(users)
    if not timed:
        order = np.lexsort((np.random.default_rng(seed).random(len(users)), users))
        drawn = np.empty_like(places)
        drawn[order] = places
        places = drawn
    return _by_place(users, valid, test, places)


def by_time(times: np.ndarray, shares: tuple[int, int, int] = (80, 10, 10)) -> np.ndarray:
    """(N,) int8: one cut in time for all: with the default ``shares`` in percent, from the time of the interaction at
    80 % on valid, at 90 % on test.

    Interactions at the same time are in the same part.
    """
    n = len(times)
    places = [n * shares[0] // 100, n * (shares[0] + shares[1]) // 100]
    ordered = np.sort(times)
    cuts = np.append(ordered, np.inf)[places]
    return np.searchsorted(cuts, times, side="right").astype(np.int8)


def _places(users: np.ndarray) -> np.ndarray:
    """(N,) int32: each interaction's place within its user, from 0."""
    sizes = np.bincount(users)
    return np.arange(len(users), dtype=np.int32) - np.repeat((np.cumsum(sizes) - sizes).astype(np.int32), sizes)


def _by_place(users: np.ndarray, valid: np.ndarray, test: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The last ``test`` (per user) by place are test, the ``valid`` before them valid."""
    sizes = np.bincount(users)
    split = (places >= (sizes - test - valid)[users]).astype(np.int8)
    split += places >= (sizes - test)[users]
    return split
