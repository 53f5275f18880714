"""Data leakage of a split: how much of the training data would not have been known at the time of the test."""

from __future__ import annotations

from collections.abc import Sequence
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


@dataclass(frozen=True)
class LeakTally:
    """What a part of the interactions adds to ``LeakCounts``; all interactions of its users are in it.

    Attributes:
        sizes: (3,) the numbers of train, valid and test.
        first_held_out, first_test: the earliest times, infinite without any; None without times.
        trained_items, held_out_items: the codes of the items that are in train, and that are held out.
    """

    sizes: np.ndarray
    first_held_out: float | None
    first_test: float | None
    after_own: int
    repeated: int
    users_without_train: int
    trained_items: np.ndarray
    held_out_items: np.ndarray


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
    tally = tally_leaks(users, items, times, split)
    cuts = first_moments([tally])
    after_cut = None if times is None or cuts is None else count_after(times, split, cuts)
    return combine_leaks([tally], after_cut, dates)


def tally_leaks(users: np.ndarray, items: np.ndarray, times: np.ndarray | None, split: np.ndarray) -> LeakTally:
    """Count what needs the interactions of one user, or a part of the interactions, alone; as ``count_leaks``."""
    in_train, in_test = split == TRAIN, split == TEST
    held_out = ~in_train
    after_own = 0
    if times is not None:
        after_own = _count_after_own(users, times, in_train)
        after_own += _count_after_own(users[held_out], times[held_out], split[held_out] == VALID)
    return LeakTally(
        sizes=np.bincount(split, minlength=3),
        first_held_out=None if times is None else float(times[held_out].min(initial=np.inf)),
        first_test=None if times is None else float(times[in_test].min(initial=np.inf)),
        after_own=after_own,
        repeated=_count_repeated(users, items, in_train),
        users_without_train=len(np.setdiff1d(_codes(users, held_out), _codes(users, in_train), assume_unique=True)),
        trained_items=_codes(items, in_train),
        held_out_items=_codes(items, held_out),
    )


def first_moments(tallies: Sequence[LeakTally]) -> tuple[float, float] | None:
    """Return the times of the first held-out interaction and of the first of test; None without times."""
    held_out = [tally.first_held_out for tally in tallies if tally.first_held_out is not None]
    test = [tally.first_test for tally in tallies if tally.first_test is not None]
    return (min(held_out), min(test)) if held_out and test else None


def count_after(times: np.ndarray, split: np.ndarray, moments: tuple[float, float]) -> int:
    """Count the interactions of train and of valid that are later than ``first_moments``."""
    cut, first_test = moments
    return int((times[split == TRAIN] > cut).sum()) + int((times[split == VALID] > first_test).sum())


def combine_leaks(tallies: Sequence[LeakTally], after_cut: int | None, dates: np.ndarray | None) -> LeakCounts:
    """Return the counts of all parts; ``after_cut``: of all, by ``count_after``; ``dates`` as of ``count_leaks``."""
    moments = first_moments(tallies)
    cut = np.inf if moments is None else moments[0]
    n_items = 1 + max(int(codes.max(initial=-1)) for t in tallies for codes in (t.trained_items, t.held_out_items))
    trained, held_out = np.zeros(n_items, bool), np.zeros(n_items, bool)
    for tally in tallies:
        trained[tally.trained_items], held_out[tally.held_out_items] = True, True
    from_later = None
    if moments is not None and dates is not None:
        from_later = int(np.count_nonzero(trained & (dates[:n_items] > cut)))
    sizes = np.sum([tally.sizes for tally in tallies], axis=0)
    return LeakCounts(
        train=int(sizes[TRAIN]),
        valid=int(sizes[VALID]),
        test=int(sizes[TEST]),
        cut=None if np.isinf(cut) else cut,
        after_cut=after_cut,
        after_own=None if moments is None else sum(tally.after_own for tally in tallies),
        repeated=sum(tally.repeated for tally in tallies),
        users_without_train=sum(tally.users_without_train for tally in tallies),
        items_without_train=int(np.count_nonzero(held_out & ~trained)),
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


def _codes(codes: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Return the distinct ``codes`` (N,) of the ``chosen`` (N,) bool, ascending."""
    occurs = np.zeros(int(codes.max(initial=-1)) + 1, bool)
    occurs[codes[chosen]] = True
    return np.flatnonzero(occurs)
