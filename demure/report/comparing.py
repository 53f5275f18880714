"""Runs side by side: their metrics, paired tests between them, and whether their verdicts agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from demure.diagnosis.reader import DiagnosisReader
from demure.errors import DemureError
from demure.progress import Listener, silent
from demure.runs.manifest import read_manifest, recorded_dataset

_METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")


@dataclass(frozen=True)
class ComparedRuns:
    """``runs``: a row per run with ``run``, ``recipe``, ``seed`` and the metrics on ``split``; ``tests``: paired tests
    between them; ``verdicts``: per other run and modality the share of ``same`` verdicts, the ``correlation`` of the
    probabilities and the share of points of interest in both (``poi_here``, ``poi_there``; NaN where the features
    explain nothing), over the choices that have the modality in both. ``note``: why metrics are absent. ``paths``: name
    -> run."""

    split: str
    runs: pd.DataFrame
    tests: list[dict[str, Any]]
    verdicts: pd.DataFrame
    note: str = ""
    paths: dict[str, Path] = field(default_factory=dict)


def compare_with(reader: DiagnosisReader, others: Sequence[Path | str], listener: Listener = silent) -> ComparedRuns:
    """Compare the run of ``reader`` with ``others`` on the same split.

    Raises ``DemureError`` for a folder that is not a run, or a run on other data.
    """
    from demure.runs.evaluate import evaluate_runs

    paths = [reader.run, *(Path(other) for other in others)]
    names = dict(zip(_names(paths), paths, strict=True))
    manifests = {name: read_manifest(path) for name, path in names.items()}
    own = recorded_dataset(reader.run, reader.manifest).identity
    for name, manifest in manifests.items():
        if recorded_dataset(names[name], manifest).identity != own:
            raise DemureError(
                f"was made from other data than {reader.run}", where=names[name], remedy="compare runs on one split"
            )
    note = ""
    try:
        evaluations = evaluate_runs(list(names.values()), split="test", device="cpu", listener=listener)
        comparison, metrics = evaluations.comparison, [run.metrics for run in evaluations.runs]
    except DemureError as error:
        comparison, metrics, note = None, [{} for _ in names], f"The runs could not be evaluated: {error}"
    rows = [
        {"run": name, "recipe": manifest.recipe, "seed": manifest.seed}
        | {metric: values[metric] for metric in _METRICS if metric in values}
        for (name, manifest), values in zip(manifests.items(), metrics, strict=True)
    ]
    short = {str(path): name for name, path in names.items()}
    tests = []
    if comparison is not None:
        for pair in comparison.pairs:
            tests.append(
                {
                    "metric": pair.metric,
                    "first": short.get(pair.first, pair.first),
                    "second": short.get(pair.second, pair.second),
                    "difference": pair.difference,
                    "low": pair.low,
                    "high": pair.high,
                    "p": pair.p_adjusted,
                }
            )
    return ComparedRuns(
        "test", pd.DataFrame(rows), tests, _verdict_agreement(reader, list(names.items())[1:]), note, names
    )


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the last parts of the paths, as many as make them distinct."""
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    raise DemureError("a run is compared with itself", where=paths[0], remedy="name each run once")


def _verdict_agreement(reader: DiagnosisReader, others: Sequence[tuple[str, Path]]) -> pd.DataFrame:
    own = reader.table
    rows = []
    for name, path in others:
        try:
            other_reader = DiagnosisReader.open(path)
            other = other_reader.table
        except DemureError:  # the other run has no diagnosis
            continue
        if len(other.user) != len(own.user) or (other.position != own.position).any():
            continue  # the rows do not correspond; on the same split this does not happen
        for m, modality in enumerate(own.modalities):
            if modality not in other.modalities:
                continue
            k = other.modalities.index(modality)
            explains_here = modality not in reader.placebos.cannot_tell
            explains_there = modality not in other_reader.placebos.cannot_tell
            both = own.present[:, m] & other.present[:, k]
            a, b = own.probability[both, m], other.probability[both, k]
            varied = len(a) > 1 and np.ptp(a) > 0 and np.ptp(b) > 0
            same = own.poi[both, m] == other.poi[both, k]
            rows.append(
                {
                    "run": name,
                    "modality": modality,
                    "same": float(same.mean()) if len(same) else float("nan"),
                    "correlation": float(np.corrcoef(a, b)[0, 1]) if varied else float("nan"),
                    "poi_here": _share(own.poi[both, m]) if explains_here else float("nan"),
                    "poi_there": _share(other.poi[both, k]) if explains_there else float("nan"),
                }
            )
    return pd.DataFrame(rows, columns=["run", "modality", "same", "correlation", "poi_here", "poi_there"])


def _share(flags: np.ndarray) -> float:
    return float(flags.mean()) if len(flags) else float("nan")
