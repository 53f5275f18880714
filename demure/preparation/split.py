"""The split that the options ask for, or all possible ones, each with the counts of its leakage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demure.data.leakage import LeakCounts, count_leaks
from demure.data.splits import SPLIT_NAMES, leave_one_out, split_by_ratio, split_by_time
from demure.errors import DataError
from demure.preparation.interactions import Interactions
from demure.preparation.options import PrepareOptions
from demure.preparation.problems import Findings


@dataclass(frozen=True)
class PreparedSplit:
    """One split of the interactions.

    ``name``: among several; ``strategy``: of ``--split``; ``ratio_by``: of a split by ratio; ``codes`` (N,) int8.
    """

    name: str
    strategy: str
    ratio_by: str | None
    codes: np.ndarray
    leaks: LeakCounts
    notes: list[str]


def make_splits(
    interactions: Interactions, dates: np.ndarray | None, options: PrepareOptions, findings: Findings
) -> list[PreparedSplit]:
    """Return the split of ``options``; for ``all``, every split that the columns allow.

    ``interactions`` by user, then time; ``dates`` (I,): see ``Items``. Raises ``DataError`` if a split leaves nothing
    to train on.
    """
    if options.split != "all":
        ratio_by = _resolve_ratio_by(options, interactions) if options.split == "ratio" else None
        return [_make_split(options.split, options.split, ratio_by, interactions, dates, options)]
    timed = interactions.times is not None
    wanted: list[tuple[str, str, str | None]] = []
    if timed:
        wanted += [("leave-one-out", "leave-one-out", None), ("user-time", "ratio", "time")]
    wanted += [("random", "ratio", "random")]
    if timed:
        wanted += [("global-time", "time", None)]
    else:
        findings.note("--split all: no timestamps, so there is no split by time")
    if interactions.split is not None:
        wanted += [("given", "given", None)]
    splits = []
    for name, strategy, ratio_by in wanted:
        try:
            splits.append(_make_split(name, strategy, ratio_by, interactions, dates, options))
        except DataError as error:
            findings.note(f"--split all: {name} is left out: {error.problem}")
    return splits  # never empty: by ratio, every user has an interaction to train on


def _resolve_ratio_by(options: PrepareOptions, interactions: Interactions) -> str:
    if options.ratio_by == "auto":
        return "time" if interactions.times is not None else "random"
    if options.ratio_by == "time" and interactions.times is None:
        problem = "has no timestamps, which --ratio-by time needs"
        raise DataError(problem, where=options.interactions, remedy="use --ratio-by random")
    return options.ratio_by


def _make_split(
    name: str,
    strategy: str,
    ratio_by: str | None,
    interactions: Interactions,
    dates: np.ndarray | None,
    options: PrepareOptions,
) -> PreparedSplit:
    codes, notes = _split_codes(strategy, ratio_by, interactions, options)
    sizes = np.bincount(codes, minlength=3)
    if not sizes[0]:
        remedy = "use --split ratio" if strategy == "time" else "give some interactions to train"
        raise DataError("nothing is left to train on", where=f"--split {strategy}", remedy=remedy)
    empty = [part for part, size in zip(SPLIT_NAMES, sizes, strict=True) if not size]
    notes += [f"--split {strategy}: the part {part} is empty" for part in empty]
    leaks = count_leaks(interactions.users, interactions.items, interactions.times, codes, dates)
    return PreparedSplit(name, strategy, ratio_by, codes, leaks, notes)


def _split_codes(
    strategy: str, ratio_by: str | None, interactions: Interactions, options: PrepareOptions
) -> tuple[np.ndarray, list[str]]:
    """Return the split codes (N,) int8, and notes."""
    users = interactions.users
    if strategy == "leave-one-out":
        n_short = int((np.bincount(users) < 3).sum())
        return leave_one_out(users), [
            f"{n_short} users with fewer than 3 interactions are all train"
        ] if n_short else []
    if strategy == "ratio":
        which = "each user's last by time" if ratio_by == "time" else f"drawn with seed {options.seed}"
        shares = "/".join(map(str, options.ratio))
        note = f"--split ratio: {shares} of each user's interactions, {which}; users with fewer than 3 all train"
        return split_by_ratio(users, timed=ratio_by == "time", seed=options.seed, shares=options.ratio), [note]
    if strategy == "time":
        assert interactions.times is not None
        return split_by_time(interactions.times, options.ratio), []
    assert interactions.split is not None
    return interactions.split, []
