"""Several runs side by side: what they reach, whether they differ, and whether their verdicts are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from demure.diagnosis.reader import DiagnosisSource
from demure.errors import DemureError
from demure.progress import Listener, silent
from demure.runs.manifest import read_manifest, recorded_dataset

_METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")


@dataclass(frozen=True)
class Compared:
    """``runs``: a row per run with ``run``, ``recipe``, ``seed`` and the metrics on ``split``; ``tests``: paired tests
    between them; ``verdicts``: per other run and modality the share of ``same`` verdicts, the ``correlation`` of the
    probabilities and the share of points of interest in both (``poi_here``, ``poi_there``; NaN where the features
    explain nothing), over the choices that both judged. ``note``: why something is not there."""

    split: str
    runs: pd.DataFrame
    tests: list[dict[str, Any]]
    verdicts: pd.DataFrame
    note: str = ""
    paths: dict[str, Path] = field(default_factory=dict)


def compared(source: DiagnosisSource, others: Sequence[Path | str], listener: Listener = silent) -> Compared:
    """The run of ``source`` next to ``others``, on the same split. Raises ``DemureError`` for a folder that is no run,
    or a run on other data."""
    from demure.runs.evaluate import evaluate_runs

    paths = [source.run, *(Path(other) for other in others)]
    names = dict(zip(_names(paths), paths, strict=True))
    manifests = {name: read_manifest(path) for name, path in names.items()}
    own = recorded_dataset(source.run, source.manifest).identity
    for name, manifest in manifests.items():
        if recorded_dataset(names[name], manifest).identity != own:
            raise DemureError(
                f"was made from other data than {source.run}", where=names[name], remedy="compare runs on one split"
            )
    note = ""
    try:
        judgement = evaluate_runs(list(names.values()), split="test", device="cpu", listener=listener)
        metrics = [judged.metrics for judged in judgement.runs]
    except DemureError as error:
        judgement, metrics, note = None, [{} for _ in names], f"The runs could not be judged: {error}"
    rows = [
        {"run": name, "recipe": manifest.recipe, "seed": manifest.seed}
        | {metric: reached[metric] for metric in _METRICS if metric in reached}
        for (name, manifest), reached in zip(manifests.items(), metrics, strict=True)
    ]
    short = {str(path): name for name, path in names.items()}
    tests = []
    if judgement is not None and judgement.comparison is not None:
        for pair in judgement.comparison.pairs:
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
    return Compared("test", pd.DataFrame(rows), tests, _verdicts(source, list(names.items())[1:]), note, names)


def _names(paths: Sequence[Path]) -> list[str]:
    """The last parts of the paths, as many as tell them apart."""
    for depth in range(1, max(len(path.parts) for path in paths) + 1):
        names = ["/".join(path.parts[-depth:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    raise DemureError("a run is compared with itself", where=paths[0], remedy="name each run once")


def _verdicts(source: DiagnosisSource, others: Sequence[tuple[str, Path]]) -> pd.DataFrame:
    mine = source.judged
    rows = []
    for name, path in others:
        try:
            opened = DiagnosisSource.open(path)
            theirs = opened.judged
        except DemureError:  # it does not judge modalities
            continue
        if len(theirs.user) != len(mine.user) or (theirs.position != mine.position).any():
            continue  # cannot be, for the split is the same; but then nothing can be said
        for m, modality in enumerate(mine.modalities):
            if modality not in theirs.modalities:
                continue
            other = theirs.modalities.index(modality)
            silent_here = modality in source.placebos.cannot_tell
            silent_there = modality in opened.placebos.cannot_tell
            both = mine.present[:, m] & theirs.present[:, other]
            a, b = mine.probability[both, m], theirs.probability[both, other]
            varied = len(a) > 1 and np.ptp(a) > 0 and np.ptp(b) > 0
            same = mine.poi[both, m] == theirs.poi[both, other]
            rows.append(
                {
                    "run": name,
                    "modality": modality,
                    "same": float(same.mean()) if len(same) else float("nan"),
                    "correlation": float(np.corrcoef(a, b)[0, 1]) if varied else float("nan"),
                    "poi_here": float("nan") if silent_here else _share(mine.poi[both, m]),
                    "poi_there": float("nan") if silent_there else _share(theirs.poi[both, other]),
                }
            )
    return pd.DataFrame(rows, columns=["run", "modality", "same", "correlation", "poi_here", "poi_there"])


def _share(true: np.ndarray) -> float:
    return float(true.mean()) if len(true) else float("nan")
