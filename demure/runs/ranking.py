"""Runs on the same data, each ranked in full for the same users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demure.data.splits import EARLIER
from demure.errors import DemureError, RunError
from demure.evaluation.beyond_accuracy import Catalogue
from demure.evaluation.ranking import Evaluation, evaluate
from demure.progress import Listener, silent
from demure.runs.folder import MANIFEST, read_manifest

if TYPE_CHECKING:
    from demure.data.dataset import Dataset
    from demure.data.histories import Histories


@dataclass(frozen=True)
class Ranked:
    """``seen``: what users had before the split, and are not shown again; ``evaluations`` by run."""

    dataset: Dataset
    seen: Histories
    catalogue: Catalogue
    evaluations: dict[str, Evaluation]


def rank(
    runs: Sequence[Path], *, split: str, ks: Sequence[int], device: str = "auto", listener: Listener = silent
) -> Ranked:
    """Open and rank each run in turn; whether they fit together is checked before the first. Raises as ``evaluate_runs``."""
    from demure.runs.load import load_run

    if split not in EARLIER:
        raise DemureError(f"unknown split {split!r}", where="--split", remedy=f"use one of {', '.join(EARLIER)}")
    ranked: Ranked | None = None
    for name, path in zip(read_manifests(runs), runs, strict=True):
        loaded = load_run(path, device=device)
        if ranked is None:
            dataset = loaded.dataset
            relevant, seen = dataset.histories(split), dataset.histories(*EARLIER[split])
            if not len(relevant.items):
                other = next((part for part in EARLIER if part != split and len(dataset.histories(part).items)), None)
                remedy = f"use --split {other}" if other else "prepare the dataset with a split"
                raise DemureError(f"there is nothing in the split {split!r}", where=dataset.path, remedy=remedy)
            ranked = Ranked(dataset, seen, Catalogue.of(dataset), {})
        ranked.evaluations[name] = evaluate(
            loaded.scorer(split),
            relevant,
            seen,
            ks,
            ranked.dataset.n_items,
            catalogue=ranked.catalogue,
            listener=listener,
        )
    assert ranked is not None
    return ranked


def read_manifests(runs: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """run.json of every run. Raises ``DemureError`` for none, for a run twice, and for runs on different data."""
    names = [str(run) for run in runs]
    if not names:
        raise DemureError("no run is given", where="eval", remedy="name a run folder")
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DemureError("is given twice", where=twice, remedy="compare different runs")
    manifests = {name: read_manifest(run) for name, run in zip(names, runs, strict=True)}
    identities = {name: _identity(name, manifest) for name, manifest in manifests.items()}
    expected = identities[names[0]]
    for name, identity in identities.items():
        different = [part for part, value in expected.items() if identity.get(part) != value]
        if different:
            raise DemureError(
                f"was made from other data than {names[0]} ({', '.join(different)} differ)",
                where=name,
                remedy="compare runs of the same dataset folder",
            )
    return manifests


def _identity(run: str, manifest: dict[str, Any]) -> dict[str, str]:
    try:
        return dict(manifest["dataset"]["identity"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError("does not say what data it is of", where=Path(run) / MANIFEST, remedy="train again") from error
