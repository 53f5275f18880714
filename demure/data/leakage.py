"""Data leakage of a split: how much of the training data would not have been known at the time of the test."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from demure.data.splits import TEST, TRAIN, VALID

_BLOCK = 1 << 22  # interactions compared at a time


@dataclass(frozen=True)
class LeakCounts:
    """Numbers of interactions, users and items of one split; None where a count needs times that are not there.

    Attributes:
        cut: the time of the first held-out interaction, seconds since 1970.
        after_cut: interactions of train that are later than ``cut``, and of valid that are later than the first of
            test, of any user.
        after_own: the same, later than the first held-out interaction of the same user.
        repeated: pairs of user and item that are in train and also held out.
        users_without_train: users with held-out interactions only; ``items_without_train`` likewise.
        items_from_later: items with interactions in train that have a date after ``cut`` in the items file.
    """

    train: int
    valid: int
    test: int
    cut: float | None
    after_cut: int | None
    after_own: int | None
    repeated: int
    users_without_train: int
    items_without_train: int
    items_from_later: int | None

    def to_dict(self) -> dict[str, float | None]:
        """Return the counts by name, as JSON has them."""
        return asdict(self)


def count_leaks(
    users: np.ndarray,
    items: np.ndarray,
    times: np.ndarray | None,
    split: np.ndarray,
    dates: np.ndarray | None = None,
) -> LeakCounts:
    """Count what a split gives away.

    ``users``, ``items`` (N,) codes, by user; ``times`` (N,) seconds; ``split`` (N,) int8 codes; ``dates`` (I,) seconds:
    when each item appeared, by the items file, NaN where it does not say.
    """
    sizes = np.bincount(split, minlength=3)
    in_train = split == TRAIN
    held_out = ~in_train
    cut = None if times is None else float(times[held_out].min()) if held_out.any() else np.inf
    after_cut = after_own = from_later = None
    if times is not None and cut is not None:
        after_cut = int((times[in_train] > cut).sum())
        after_own = _count_after_own(users, times, in_train)
        in_test = split == TEST
        if in_test.any():
            in_valid = split == VALID
            after_cut += int((times[in_valid] > times[in_test].min()).sum())
            after_own += _count_after_own(users[held_out], times[held_out], in_valid[held_out])
        if dates is not None:
            from_later = int((np.isin(np.flatnonzero(dates > cut), items[in_train])).sum())
    return LeakCounts(
        train=int(sizes[TRAIN]),
        valid=int(sizes[VALID]),
        test=int(sizes[TEST]),
        cut=None if cut is None or np.isinf(cut) else cut,
        after_cut=after_cut,
        after_own=after_own,
        repeated=_count_repeated(users, items, in_train),
        users_without_train=_count_held_out_only(users, held_out, in_train),
        items_without_train=_count_held_out_only(items, held_out, in_train),
        items_from_later=from_later,
    )


def _count_after_own(users: np.ndarray, times: np.ndarray, earlier: np.ndarray) -> int:
    """Count the interactions of ``earlier`` (N,) bool that are later than the first other one of the same user."""
    first = np.full(int(users.max(initial=-1)) + 1, np.inf)
    np.minimum.at(first, users[~earlier], times[~earlier])
    return int((times[earlier] > first[users[earlier]]).sum())


def _count_repeated(users: np.ndarray, items: np.ndarray, in_train: np.ndarray) -> int:
    """Count the pairs of user and item that are in train and held out too."""
    held_out = np.unique(users[~in_train].astype(np.int64) << 32 | items[~in_train])
    if not len(held_out):
        return 0
    repeated = np.zeros(len(held_out), bool)
    for start in range(0, len(users), _BLOCK):
        block = slice(start, start + _BLOCK)
        pairs = users[block][in_train[block]].astype(np.int64) << 32 | items[block][in_train[block]]
        position = np.minimum(np.searchsorted(held_out, pairs), len(held_out) - 1)
        repeated[position[held_out[position] == pairs]] = True
    return int(repeated.sum())


def _count_held_out_only(codes: np.ndarray, held_out: np.ndarray, in_train: np.ndarray) -> int:
    """Count the codes, of users or of items, that have held-out interactions and none in train."""
    n = int(codes.max(initial=-1)) + 1
    is_held_out, is_trained = np.zeros(n, bool), np.zeros(n, bool)
    is_held_out[codes[held_out]], is_trained[codes[in_train]] = True, True
    return int((is_held_out & ~is_trained).sum())
