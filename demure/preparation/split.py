"""The split that the options ask for, or all possible ones, each with the counts of its leakage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from demure.data.leakage import LeakCounts, count_leaks
from demure.data.splits import SPLIT_NAMES, leave_one_out, split_at, split_by_ratio, split_by_time
from demure.errors import DataError
from demure.preparation.interactions import Interactions
from demure.preparation.options import PrepareOptions
from demure.preparation.problems import Findings


@dataclass(frozen=True)
class PreparedSplit:
    """One split of the interactions.

    ``name``: among several; ``strategy``: of ``--split``; ``ratio_by``: of a split by ratio; ``codes`` (N,) int8, empty
    where the parts of the interactions hold them; ``has_time``: whether there are timestamps.
    """

    name: str
    strategy: str
    ratio_by: str | None
    codes: np.ndarray
    leaks: LeakCounts
    notes: list[str]
    has_time: bool


@dataclass(frozen=True)
class WantedSplit:
    """A split that is to be made; the fields are those of ``PreparedSplit``."""

    name: str
    strategy: str
    ratio_by: str | None

    def codes(
        self, interactions: Interactions, options: PrepareOptions, *, first: int = 0, cuts: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the split codes (N,) int8 of interactions by user, then time.

        Of a part of the interactions, ``first`` is how many come before it, and ``cuts`` (2,) are the moments of a
        split by time, at which valid and test begin.
        """
        users, times = interactions.users, interactions.times
        if self.strategy == "leave-one-out":
            return leave_one_out(users)
        if self.strategy == "ratio":
            timed = self.ratio_by == "time"
            return split_by_ratio(users, timed=timed, seed=options.seed, shares=options.ratio, first=first)
        if self.strategy == "time":
            assert times is not None
            return split_by_time(times, options.ratio) if cuts is None else split_at(cuts, times)
        assert interactions.split is not None
        return interactions.split

    def notes(self, options: PrepareOptions, sizes: np.ndarray, n_short: int) -> list[str]:
        """Return the notes; ``sizes`` (3,) of its parts, ``n_short``: users with fewer than 3 interactions.

        Raises ``DataError`` if nothing is left to train on.
        """
        notes = []
        if self.strategy == "leave-one-out" and n_short:
            notes.append(f"{n_short} users with fewer than 3 interactions are all train")
        if self.strategy == "ratio":
            which = "each user's last by time" if self.ratio_by == "time" else f"drawn with seed {options.seed}"
            shares = "/".join(map(str, options.ratio))
            notes.append(
                f"--split ratio: {shares} of each user's interactions, {which}; users with fewer than 3 all train"
            )
        if not sizes[0]:
            remedy = "use --split ratio" if self.strategy == "time" else "give some interactions to train"
            raise DataError("nothing is left to train on", where=f"--split {self.strategy}", remedy=remedy)
        empty = [part for part, size in zip(SPLIT_NAMES, sizes, strict=True) if not size]
        return notes + [f"--split {self.strategy}: the part {part} is empty" for part in empty]


def make_splits(
    interactions: Interactions, dates: np.ndarray | None, options: PrepareOptions, findings: Findings
) -> list[PreparedSplit]:
    """Return the split of ``options``; for ``all``, every split that the columns allow.

    ``interactions`` by user, then time; ``dates`` (I,): see ``Items``. Raises ``DataError`` if a split leaves nothing
    to train on.
    """
    timed = interactions.times is not None
    n_short = int((np.bincount(interactions.users) < 3).sum())

    def make(wanted: WantedSplit) -> PreparedSplit:
        codes = wanted.codes(interactions, options)
        notes = wanted.notes(options, np.bincount(codes, minlength=3), n_short)
        leaks = count_leaks(interactions.users, interactions.items, interactions.times, codes, dates)
        return PreparedSplit(wanted.name, wanted.strategy, wanted.ratio_by, codes, leaks, notes, timed)

    wanted = wanted_splits(options, findings, timed=timed, stated=interactions.split is not None)
    return possible_splits(wanted, make, options, findings)


def possible_splits(
    wanted: Sequence[WantedSplit],
    make: Callable[[WantedSplit], PreparedSplit],
    options: PrepareOptions,
    findings: Findings,
) -> list[PreparedSplit]:
    """Return the splits that ``make`` can make; with ``--split all``, a note says why another is left out."""
    if options.split != "all":
        return [make(split) for split in wanted]
    splits = []
    for split in wanted:
        try:
            splits.append(make(split))
        except DataError as error:
            findings.note(f"--split all: {split.name} is left out: {error.problem}")
    return splits  # never empty: by ratio, every user has an interaction to train on


def wanted_splits(options: PrepareOptions, findings: Findings, *, timed: bool, stated: bool) -> list[WantedSplit]:
    """Return the split of ``options``; for ``all``, every one that columns of times and of a ``stated`` split allow."""
    if options.split != "all":
        ratio_by = _resolve_ratio_by(options, timed=timed) if options.split == "ratio" else None
        return [WantedSplit(options.split, options.split, ratio_by)]
    by_random = WantedSplit("random", "ratio", "random")
    splits = [by_random]
    if timed:
        by_time = WantedSplit("user-time", "ratio", "time")
        one_out = WantedSplit("leave-one-out", "leave-one-out", None)
        splits = [one_out, by_time, by_random, WantedSplit("global-time", "time", None)]
    else:
        findings.note("--split all: no timestamps, so there is no split by time")
    return splits + ([WantedSplit("given", "given", None)] if stated else [])


def _resolve_ratio_by(options: PrepareOptions, *, timed: bool) -> str:
    if options.ratio_by == "auto":
        return "time" if timed else "random"
    if options.ratio_by == "time" and not timed:
        problem = "has no timestamps, which --ratio-by time needs"
        raise DataError(problem, where=options.interactions, remedy="use --ratio-by random")
    return options.ratio_by
