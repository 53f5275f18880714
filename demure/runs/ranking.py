"""Rank several runs on the same data in full, for the same users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from demure.data.splits import EARLIER
from demure.errors import DemureError
from demure.evaluation.beyond_accuracy import Catalogue
from demure.evaluation.ranking import Evaluation, evaluate
from demure.progress import Listener, silent
from demure.runs.manifest import RunManifest, differing_parts, read_manifest, recorded_dataset

if TYPE_CHECKING:
    from demure.data.dataset import Dataset
    from demure.data.histories import Histories


@dataclass(frozen=True)
class RankedRuns:
    """``past``: histories before the split, whose items are not ranked; ``evaluations``: run -> its evaluation."""

    dataset: Dataset
    past: Histories
    catalogue: Catalogue
    evaluations: dict[str, Evaluation]


def rank_runs(
    runs: Sequence[Path], *, split: str, ks: Sequence[int], device: str = "auto", listener: Listener = silent
) -> RankedRuns:
    """Open and rank each run in turn, after a check that all are of the same data. Raises as ``evaluate_runs``."""
    from demure.runs.load import load_run

    if split not in EARLIER:
        raise DemureError(f"unknown split {split!r}", where="--split", remedy=f"use one of {', '.join(EARLIER)}")
    ranked: RankedRuns | None = None
    for name, path in zip(read_manifests(runs), runs, strict=True):
        loaded = load_run(path, device=device)
        if ranked is None:
            dataset = loaded.dataset
            relevant, past = dataset.histories(split), dataset.histories(*EARLIER[split])
            if not len(relevant.items):
                other = next((part for part in EARLIER if part != split and len(dataset.histories(part).items)), None)
                remedy = f"use --split {other}" if other else "prepare the dataset with a split"
                raise DemureError(f"there is nothing in the split {split!r}", where=dataset.path, remedy=remedy)
            ranked = RankedRuns(dataset, past, Catalogue.of(dataset), {})
        ranked.evaluations[name] = evaluate(
            loaded.scorer(split),
            relevant,
            past,
            ks,
            ranked.dataset.n_items,
            catalogue=ranked.catalogue,
            listener=listener,
        )
    assert ranked is not None
    return ranked


def read_manifests(runs: Sequence[Path]) -> dict[str, RunManifest]:
    """Read run.json of every run. Raises ``DemureError`` for no run, for a run twice, and for runs on other data."""
    names = [str(run) for run in runs]
    if not names:
        raise DemureError("no run is given", where="eval", remedy="name a run folder")
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate is not None:
        raise DemureError("is given twice", where=duplicate, remedy="compare different runs")
    manifests = {name: read_manifest(run) for name, run in zip(names, runs, strict=True)}
    expected = recorded_dataset(runs[0], manifests[names[0]]).identity
    for (name, manifest), run in zip(manifests.items(), runs, strict=True):
        different = differing_parts(expected, recorded_dataset(run, manifest).identity)
        if different:
            raise DemureError(
                f"was made from other data than {names[0]} ({', '.join(different)} differ)",
                where=name,
                remedy="compare runs of the same dataset folder",
            )
    return manifests
