"""The split that was asked for, or all there are: each with what it gives away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demure.data.leakage import Leaks, look_for_leaks
from demure.data.splits import SPLIT_NAMES, by_time, leave_one_out, ratio
from demure.errors import DataError
from demure.prepare.interactions import Interactions
from demure.prepare.options import PrepareOptions
from demure.prepare.problems import Findings


@dataclass(frozen=True)
class Part:
    """One split: its ``name`` among several, ``codes`` (N,) int8, what it leaks, and what is to be noted of it."""

    name: str
    split: str
    ratio_by: str | None
    codes: np.ndarray
    leaks: Leaks
    notes: list[str]


def split_by(them: Interactions, dates: np.ndarray | None, options: PrepareOptions, findings: Findings) -> list[Part]:
    """The split of ``options``; for ``all`` those that the columns allow, side by side.

    ``them`` by user, then time; ``dates`` (I,): see ``Items``. Raises ``DataError`` if a split leaves nothing to train.
    """
    if options.split != "all":
        by = _by(options, them) if options.split == "ratio" else None
        return [_part(options.split, options.split, by, them, dates, options)]
    timed = them.times is not None
    asked: list[tuple[str, str, str | None]] = []
    if timed:
        asked += [("leave-one-out", "leave-one-out", None), ("user-time", "ratio", "time")]
    asked += [("random", "ratio", "random")]
    if timed:
        asked += [("global-time", "time", None)]
    else:
        findings.note("--split all: no timestamps, so there is no split by time")
    if them.split is not None:
        asked += [("given", "given", None)]
    parts = []
    for name, split, by in asked:
        try:
            parts.append(_part(name, split, by, them, dates, options))
        except DataError as error:
            findings.note(f"--split all: {name} is left out: {error.what}")
    return parts  # by ratio, every user has something to train on


def _by(options: PrepareOptions, them: Interactions) -> str:
    if options.ratio_by == "auto":
        return "time" if them.times is not None else "random"
    if options.ratio_by == "time" and them.times is None:
        reason = "has no timestamps, which --ratio-by time needs"
        raise DataError(reason, where=options.interactions, remedy="use --ratio-by random")
    return options.ratio_by


def _part(
    name: str, split: str, by: str | None, them: Interactions, dates: np.ndarray | None, options: PrepareOptions
) -> Part:
    codes, notes = _codes(split, by, them, options)
    sizes = np.bincount(codes, minlength=3)
    if not sizes[0]:
        remedy = "use --split ratio" if split == "time" else "give some interactions to train"
        raise DataError("nothing is left to train on", where=f"--split {split}", remedy=remedy)
    notes += [f"--split {split}: the part {one} is empty" for one, n in zip(SPLIT_NAMES, sizes, strict=True) if not n]
    return Part(name, split, by, codes, look_for_leaks(them.users, them.items, them.times, codes, dates), notes)


def _codes(split: str, by: str | None, them: Interactions, options: PrepareOptions) -> tuple[np.ndarray, list[str]]:
    if split == "leave-one-out":
        few = int((np.bincount(them.users) < 3).sum())
        return leave_one_out(them.users), [f"{few} users with fewer than 3 interactions are all train"] if few else []
    if split == "ratio":
        how = "each user's last by time" if by == "time" else f"drawn with seed {options.seed}"
        shares = "/".join(map(str, options.ratio))
        note = f"--split ratio: {shares} of each user's interactions, {how}; users with fewer than 3 all train"
        return ratio(them.users, timed=by == "time", seed=options.seed, shares=options.ratio), [note]
    if split == "time":
        assert them.times is not None
        return by_time(them.times, options.ratio), []
    assert them.split is not None
    return them.split, []
