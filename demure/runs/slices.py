"""`demure eval --by`: metrics of runs on slices of users and items, with intervals and differences between runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from demure.errors import DemureError
from demure.evaluation.slices import (
    Slice,
    Slicing,
    history_lengths,
    item_warmth,
    modalities_present,
    most_relied_on,
    popularity_bands,
    slices,
    user_warmth,
)
from demure.evaluation.stats import bootstrap_interval
from demure.runs.folder import RELIANCE
from demure.runs.manifest import RunManifest, run_files
from demure.suggest import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from demure.evaluation.ranking import Evaluation
    from demure.runs.ranking import RankedRuns

BY = ("items", "users", "popularity", "history", "modalities", "reliance")
_RESAMPLES = 1000


@dataclass(frozen=True)
class Interval:
    """A number and the bounds of its 95 % bootstrap interval over users."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class RunSlice:
    """One run on the part ``slice`` of the slicing ``by``.

    ``users`` and ``relevant``: numbers of users and relevant items in it; ``metrics``: means; ``intervals`` of the main
    metrics, and ``differences`` of these from the first run.
    """

    by: str
    slice: str
    users: int
    relevant: int
    metrics: dict[str, float]
    intervals: dict[str, Interval]
    differences: dict[str, Interval]


def check_slicings(by: Sequence[str]) -> list[str]:
    """Return the names ``by``, each once; ``all`` stands for all. Raises ``DemureError`` for an unknown one."""
    for name in by:
        if name not in (*BY, "all"):
            remedy = did_you_mean(name, BY) or f"use {', '.join(BY)} or all"
            raise DemureError(f"unknown slicing {name!r}", where="--by", remedy=remedy)
    return list(BY) if "all" in by else list(dict.fromkeys(by))


def build_slicings(
    names: Sequence[str], ranked: RankedRuns, reliance: pd.DataFrame | None, *, skip: bool
) -> list[Slicing]:
    """Return the slicings ``names``; without ``reliance`` that one is left out.

    So is the one by modalities if the dataset has no features and ``skip`` is set; otherwise raises ``DemureError``.
    """
    slicings = []
    for name in names:
        if name == "items":
            slicings.append(item_warmth(ranked.catalogue))
        elif name == "users":
            slicings.append(user_warmth(ranked.past))
        elif name == "popularity":
            slicings.append(popularity_bands(ranked.catalogue))
        elif name == "history":
            slicings.append(history_lengths(ranked.past))
        elif name == "reliance":
            if reliance is not None:
                slicings.append(most_relied_on(reliance, ranked.dataset.user_ids))
        elif ranked.catalogue.present:
            slicings.append(modalities_present(ranked.catalogue))
        elif not skip:
            raise DemureError("the dataset has no features", where=f"--by {name}", remedy="extract some")
    return slicings


def read_reliance(manifests: Mapping[str, RunManifest]) -> tuple[str, pd.DataFrame] | tuple[None, None]:
    """Return the first run of ``manifests`` (run -> run.json) with a reliance.parquet, and that table; None if there is
    none."""
    for run, manifest in manifests.items():
        files = run_files(Path(run), manifest)
        if files.has(RELIANCE):
            return run, files.table(RELIANCE, ["user_id", "modality", "reliance"]).to_pandas()
    return None, None


def slice_runs(
    evaluations: Mapping[str, Evaluation], slicings: Sequence[Slicing], main: Sequence[str]
) -> dict[str, list[RunSlice]]:
    """Return run -> its slices; ``main`` metrics come with intervals and with differences from the first run."""
    first: dict[tuple[str, str], Slice] = {}
    run_slices: dict[str, list[RunSlice]] = {}
    for run, evaluation in evaluations.items():
        run_slices[run] = []
        for part in (part for slicing in slicings for part in slices(evaluation, slicing)):
            reference = first.setdefault((part.by, part.slice), part)
            differences = {}
            if reference is not part:
                differences = {name: _interval(part.per_user[name] - reference.per_user[name]) for name in main}
            intervals = {name: _interval(part.per_user[name]) for name in main}
            run_slices[run].append(
                RunSlice(part.by, part.slice, part.users, part.relevant, part.means(), intervals, differences)
            )
    return run_slices


def _interval(values: np.ndarray) -> Interval:
    low, high = bootstrap_interval(values, resamples=_RESAMPLES, random=np.random.default_rng(0))
    return Interval(float(values.mean()), low, high)
