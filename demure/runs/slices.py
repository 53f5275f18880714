"""`demure eval --by`: the slices of runs, each with how sure its numbers are, and by how much runs differ there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from demure.errors import DemureError, RunError
from demure.evaluation import slices as parts
from demure.evaluation.stats import bootstrap_interval
from demure.suggest import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from demure.evaluation.ranking import Evaluation
    from demure.runs.ranking import Ranked

BY = ("items", "users", "popularity", "history", "modalities", "reliance")
_RESAMPLES = 1000


@dataclass(frozen=True)
class Interval:
    """A number and the bounds of its 95 % bootstrap interval over users."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class SliceOfRun:
    """One run on part ``slice`` of the slicing ``by``: how many ``users`` and ``relevant`` items are in it, the means
    of all ``metrics``, the ``intervals`` of the main ones, and, of those, the ``differences`` from the first run."""

    by: str
    slice: str
    users: int
    relevant: int
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    differences: dict[str, Interval]


def check_by(by: Sequence[str]) -> list[str]:
    """The slicings asked for, each once, ``all`` being all of them. Raises ``DemureError`` for an unknown one."""
    for name in by:
        if name not in (*BY, "all"):
            remedy = did_you_mean(name, BY) or f"use {', '.join(BY)} or all"
            raise DemureError(f"unknown slicing {name!r}", where="--by", remedy=remedy)
    return list(BY) if "all" in by else list(dict.fromkeys(by))


def slicings(by: Sequence[str], ranked: Ranked, reliance: pd.DataFrame | None, *, skip: bool) -> list[parts.Slicing]:
    """The slicings ``by``; without ``reliance`` there is none by that, and without features none by modalities: that
    one is left out if ``skip``, and otherwise raises ``DemureError``."""
    made = []
    for name in by:
        if name == "items":
            made.append(parts.item_warmth(ranked.catalogue))
        elif name == "users":
            made.append(parts.user_warmth(ranked.seen))
        elif name == "popularity":
            made.append(parts.popularity_bands(ranked.catalogue))
        elif name == "history":
            made.append(parts.history_lengths(ranked.seen))
        elif name == "reliance":
            if reliance is not None:
                made.append(parts.most_relied_on(reliance, ranked.dataset.user_ids))
        elif ranked.catalogue.present:
            made.append(parts.modalities_present(ranked.catalogue))
        elif not skip:
            raise DemureError("the dataset has no features", where=f"--by {name}", remedy="extract some")
    return made


def reliance_of(runs: Sequence[Path]) -> tuple[str, pd.DataFrame] | None:
    """The first of ``runs`` that says what users rely on, and what it says; None if there is none."""
    import pandas as pd

    for run in runs:
        file = run / "reliance.parquet"
        if file.is_file():
            try:
                return str(run), pd.read_parquet(file, columns=["user_id", "modality", "reliance"])
            except (OSError, ValueError) as error:
                raise RunError(f"cannot be read ({error})", where=file, remedy="train the run again") from error
    return None


def slice_runs(
    evaluations: Mapping[str, Evaluation], made: Sequence[parts.Slicing], main: Sequence[str]
) -> dict[str, list[SliceOfRun]]:
    """Run -> its slices; ``main`` metrics come with intervals and with differences from the first run."""
    first: dict[tuple[str, str], parts.Slice] = {}
    told: dict[str, list[SliceOfRun]] = {}
    for run, evaluation in evaluations.items():
        told[run] = []
        for one in (part for slicing in made for part in parts.slices(evaluation, slicing)):
            reference = first.setdefault((one.by, one.slice), one)
            differences = {} if reference is one else {name: _apart(one, reference, name) for name in main}
            intervals = {name: _interval(one.per_user[name]) for name in main}
            told[run].append(
                SliceOfRun(one.by, one.slice, one.users, one.relevant, one.means(), intervals, differences)
            )
    return told


def _apart(one: parts.Slice, reference: parts.Slice, metric: str) -> Interval:
    return _interval(one.per_user[metric] - reference.per_user[metric])


def _interval(values: np.ndarray) -> Interval:
    low, high = bootstrap_interval(values, resamples=_RESAMPLES, random=np.random.default_rng(0))
    return Interval(float(values.mean()), low, high)
