"""The parts of a dataset: a model is trained on train, selected on valid and evaluated on test."""

from __future__ import annotations

import numpy as np

SPLIT_NAMES = ("train", "valid", "test")
TRAIN, VALID, TEST = range(3)
EARLIER = {"valid": ("train",), "test": ("train", "valid")}  # past interactions: the history, excluded from the ranking
STRATEGIES = ("leave-one-out", "ratio", "time", "given", "all")
RATIO_BY = ("auto", "time", "random")
NEED_TIME = ("leave-one-out", "time")
LABELS = {
    "train": TRAIN, "training": TRAIN, "0": TRAIN, "valid": VALID, "validation": VALID, "val": VALID, "dev": VALID,
    "1": VALID, "test": TEST, "testing": TEST, "2": TEST,
}  # fmt: skip
_MIN_INTERACTIONS = 3  # a user with fewer is all train: one interaction to train on, one for each other part


def leave_one_out(users: np.ndarray) -> np.ndarray:
    """Return split codes (N,) int8 where each user's last interaction is test and the one before it valid.

    ``users`` (N,) codes ascending, each user's interactions in order of time, as in all functions here.
    """
    n_held_out = np.where(np.bincount(users) >= _MIN_INTERACTIONS, 1, 0)
    return _split_by_rank(users, n_held_out, n_held_out, _ranks(users))


def split_by_ratio(
    users: np.ndarray, *, timed: bool, seed: int, shares: tuple[int, int, int] = (80, 10, 10), first: int = 0
) -> np.ndarray:
    """Return split codes (N,) int8 that divide each user's interactions by ``shares``, percent of train, valid, test.

    The numbers are rounded, but at least one interaction stays train and, unless their share is 0, one is valid and one
    is test. Valid and test are the user's last interactions where ``timed``, and else are drawn with ``seed``.
    ``first``: how many interactions come before these, where the data are split in parts; each takes one number.
    """
    sizes = np.bincount(users)
    is_divided = sizes >= _MIN_INTERACTIONS

    def n_of(share: int, maximum: np.ndarray) -> np.ndarray:
        rounded = np.maximum(1, (sizes * share + 50) // 100) if share else np.zeros_like(sizes)
        return np.where(is_divided, np.minimum(rounded, maximum), 0)

    n_valid = n_of(shares[1], sizes - 2)
    n_test = n_of(shares[2], sizes - 1 - n_valid)
    ranks = _ranks(users)
    if not timed:
        numbers = np.random.PCG64(seed)
        numbers.advance(first)
        order = np.lexsort((np.random.Generator(numbers).random(len(users)), users))
        drawn = np.empty_like(ranks)
        drawn[order] = ranks
        ranks = drawn
    return _split_by_rank(users, n_valid, n_test, ranks)


def split_by_time(times: np.ndarray, shares: tuple[int, int, int] = (80, 10, 10)) -> np.ndarray:
    """Return split codes (N,) int8 by two moments that are the same for all users.

    With the default ``shares`` in percent, valid begins at the time of the interaction at 80 %, test at 90 %.
    Interactions of the same time are in the same part.
    """
    cuts = np.append(np.sort(times), np.inf)[list(cut_positions(len(times), shares))]
    return split_at(cuts, times)


def cut_positions(n: int, shares: tuple[int, int, int]) -> tuple[int, int]:
    """Return which of ``n`` interactions in order of time is the first of valid, and of test; ``n`` for none."""
    return n * shares[0] // 100, n * (shares[0] + shares[1]) // 100


def split_at(cuts: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Return split codes (N,) int8 by the times (2,) at which valid and test begin."""
    return np.searchsorted(cuts, times, side="right").astype(np.int8)


def _ranks(users: np.ndarray) -> np.ndarray:
    """Return the position (N,) int32 of each interaction among those of its user, from 0."""
    sizes = np.bincount(users)
    return np.arange(len(users), dtype=np.int32) - np.repeat((np.cumsum(sizes) - sizes).astype(np.int32), sizes)


def _split_by_rank(users: np.ndarray, n_valid: np.ndarray, n_test: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Return split codes (N,) int8: of each user's ranks the last ``n_test`` are test, the ``n_valid`` before valid."""
    sizes = np.bincount(users)
    split: np.ndarray = (ranks >= (sizes - n_test - n_valid)[users]).astype(np.int8)
    split += ranks >= (sizes - n_test)[users]
    return split
