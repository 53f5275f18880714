"""What a split gives away: how much of what is learned from would not have been known when it was to be used."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from demure.data.splits import TEST, TRAIN, VALID

_BLOCK = 1 << 22


@dataclass(frozen=True)
class Leaks:
    """Counts for one split; None where there are no times.

    ``after_cut``: interactions of train (and of valid, before test) later than the first that is held out from them,
    of whomever. ``after_own``: the same, later than the first held out of the same user. ``repeated``: pairs of user
    and item that are in train and again in what is held out. ``users_without_train`` and ``items_without_train`` have
    held-out interactions only. ``items_from_later``: items with interactions in train that the items file dates after
    the cut. ``cut``: the time of the first held-out interaction, seconds since 1970.
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

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def look_for_leaks(
    users: np.ndarray,
    items: np.ndarray,
    times: np.ndarray | None,
    split: np.ndarray,
    dates: np.ndarray | None = None,
) -> Leaks:
    """``users``, ``items`` (N,) codes, by user; ``times`` (N,) seconds; ``split`` (N,) int8; ``dates`` (I,) seconds or
    NaN: when the items file says an item came into the world."""
    sizes = np.bincount(split, minlength=3)
    train = split == TRAIN
    held = ~train
    cut = None if times is None else float(times[held].min()) if held.any() else np.inf
    after_cut = after_own = from_later = None
    if times is not None and cut is not None:
        after_cut = int((times[train] > cut).sum())
        after_own = _after_own(users, times, train)
        if (split == TEST).any():
            valid = split == VALID
            after_cut += int((times[valid] > times[split == TEST].min()).sum())
            after_own += _after_own(users[~train], times[~train], valid[~train])
        if dates is not None:
            from_later = int((np.isin(np.flatnonzero(dates > cut), items[train])).sum())
    return Leaks(
        int(sizes[0]),
        int(sizes[1]),
        int(sizes[2]),
        None if cut is None or np.isinf(cut) else cut,
        after_cut,
        after_own,
        _repeated(users, items, train),
        _only(users, held, train),
        _only(items, held, train),
        from_later,
    )


def _after_own(users: np.ndarray, times: np.ndarray, earlier: np.ndarray) -> int:
    """How many of ``earlier`` are later than the first of the same user's others."""
    first = np.full(int(users.max(initial=-1)) + 1, np.inf)
    np.minimum.at(first, users[~earlier], times[~earlier])
    return int((times[earlier] > first[users[earlier]]).sum())


def _repeated(users: np.ndarray, items: np.ndarray, train: np.ndarray) -> int:
    """Pairs of user and item that are in train and elsewhere too."""
    held = np.unique(users[~train].astype(np.int64) << 32 | items[~train])
    if not len(held):
        return 0
    again = np.zeros(len(held), bool)
    for at in range(0, len(users), _BLOCK):
        learned = train[at : at + _BLOCK]
        pairs = users[at : at + _BLOCK][learned].astype(np.int64) << 32 | items[at : at + _BLOCK][learned]
        place = np.minimum(np.searchsorted(held, pairs), len(held) - 1)
        again[place[held[place] == pairs]] = True
    return int(again.sum())


def _only(codes: np.ndarray, held: np.ndarray, train: np.ndarray) -> int:
    n = int(codes.max(initial=-1)) + 1
    there, learned = np.zeros(n, bool), np.zeros(n, bool)
    there[codes[held]], learned[codes[train]] = True, True
    return int((there & ~learned).sum())
