"""What every page of a run shows, whether written to a file or served: the overview, its charts, how it was made."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from demure.diagnosis import tables
from demure.diagnosis.calibration import Calibration, calibration
from demure.diagnosis.reader import DiagnosisSource
from demure.errors import DemureError
from demure.progress import Listener, silent
from demure.report import charts
from demure.report.comparing import Compared, compared

_FIRST = 4  # where the modalities' columns of a table of segments begin
_TITLES = {
    "category": "Points of interest by category of the item",
    "time": "Points of interest over time",
    "history": "Points of interest by how many choices the user made",
    "popularity": "Points of interest by how often the item was chosen",
}


@dataclass(frozen=True)
class Chart:
    """A plotly figure with its title, and the same numbers as a table (None where one stands beside it already)."""

    key: str
    title: str
    figure: dict[str, Any]
    numbers: pd.DataFrame | None = None


@dataclass(frozen=True)
class Shown:
    """The parts of a page that do not depend on how users and items get into it."""

    overview: tables.Overview
    charts: dict[str, Chart]
    calibration: Calibration | None
    compared: Compared | None
    facts: list[tuple[str, list[tuple[str, str]]]]
    files: list[tuple[str, str]]


def shown(
    source: DiagnosisSource,
    *,
    truth: Path | str | None = None,
    compare: Sequence[Path | str] = (),
    listener: Listener = silent,
) -> Shown:
    """Everything but users and items. ``truth`` is a file as ``truth.calibration`` reads it; ``compare`` are runs on
    the same split. Raises as those do."""
    seen = tables.overview(source, top=24)
    other = compared(source, compare, listener) if compare else None
    known = None
    if truth is not None:
        columns = ["user_id", "item_id", "modality", "poi_probability", "evidence", "verdict"]
        known = calibration(truth, source.diagnosis(columns).to_pandas())
    runs = {source.run.name: source.run} if other is None else other.paths
    return Shown(seen, _charts(source, seen, known, runs), known, other, _facts(source), _files(source))


def _charts(
    source: DiagnosisSource, seen: tables.Overview, known: Calibration | None, runs: Mapping[str, Path]
) -> dict[str, Chart]:
    columns = [name for name in seen.reliance["modality"] if name not in seen.cannot_tell]
    palette = charts.colours(source.reliance_columns)  # of all, so that a colour means one modality everywhere
    explaining = [name for name in source.judged.modalities if name not in seen.cannot_tell]
    histogram = {name: counted for name, counted in _histogram(source).items() if name in explaining}
    counts = pd.DataFrame({"probability": [f"{k / 20:.2f}-{(k + 1) / 20:.2f}" for k in range(20)], **histogram})
    made = [
        Chart("shares", "Share of interactions by verdict", charts.verdict_shares(seen.modalities, seen.cannot_tell)),
    ]
    if explaining:
        made.append(
            Chart("probabilities", "How sure the verdicts are", charts.probabilities(histogram, palette), counts)
        )
        made.append(
            Chart("reliance", "How much users rely on each", charts.reliance(source.reliance(), columns, palette))
        )
    for kind, title in _TITLES.items():
        try:
            found = tables.segments(source, kind)
        except DemureError:  # no categories, or no time
            continue
        if explaining and len(found.table) > 1:
            silent = [_FIRST + at for at, name in enumerate(source.judged.modalities) if name not in explaining]
            table = found.table.drop(columns=found.table.columns[silent])
            figure = charts.parts(table, explaining, palette, ordered=kind != "category")
            made.append(Chart(kind, title, figure, _points(table)))
    if known is not None:
        figure = charts.calibration(known.curve, source.judged.modalities)
        numbers = known.curve.rename(columns={"predicted": "mean probability", "caused": "share that truly was"})
        made.append(Chart("calibration", "What was said, and what was true", figure, numbers))
    for k, (title, figure, numbers) in enumerate(charts.epochs(runs)):
        made.append(Chart(f"epochs{k}", title, figure, numbers))
    return {chart.key: chart for chart in made}


def _points(table: pd.DataFrame) -> pd.DataFrame:
    names = table.columns[_FIRST:]
    shares = {name: [f"{100 * share:.1f} %" if share == share else "–" for share in table[name]] for name in names}
    return table.assign(**shares).rename(columns={name: f"{name}: point of interest" for name in names})


def _histogram(source: DiagnosisSource) -> dict[str, np.ndarray]:
    judged, edges = source.judged, np.linspace(0, 1, 21)
    return {
        name: np.histogram(judged.probability[judged.present[:, m], m], edges)[0]
        for m, name in enumerate(judged.modalities)
    }


def _facts(source: DiagnosisSource) -> list[tuple[str, list[tuple[str, str]]]]:
    """How the run was made, as headed lists of names and values; what a manifest lacks is left out."""
    run = source.manifest.to_dict()
    dataset = json.loads((source.dataset / "dataset.json").read_text(encoding="utf-8"))
    keys = ("recipe", "model", "seed", "device", "epochs", "best_epoch", "demure_version")
    found = [
        ("Run", _pairs({key: run.get(key) for key in keys})),
        ("Validation", _pairs(run.get("valid"))),
        ("Dataset", [("path", str(source.dataset)), *_pairs(dataset.get("counts"))]),
        ("Hashes (SHA-256)", _pairs(run["dataset"].get("identity"))),
    ]
    for name, features in (run.get("features") or {}).items():
        kept = ("dim", "present", "missing", "features_sha256")
        told = {key: features.get(key) for key in kept} | (features.get("provenance") or {})
        found.append((f"Features: {name}", _pairs(told)))
    found.append(("Versions", _pairs(run.get("environment"))))
    return [(title, pairs) for title, pairs in found if pairs]


def _pairs(values: Any) -> list[tuple[str, str]]:
    if not isinstance(values, Mapping):
        return []
    return [(str(key), _value(value)) for key, value in values.items() if value is not None]


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _files(source: DiagnosisSource) -> list[tuple[str, str]]:
    recipe = source.run / "recipe.yaml"
    found = [
        ("The run (run.json)", json.dumps(source.manifest.to_dict(), indent=2, ensure_ascii=False)),
        ("Its recipe (recipe.yaml)", recipe.read_text(encoding="utf-8") if recipe.is_file() else ""),
        ("Its dataset (dataset.json)", (source.dataset / "dataset.json").read_text(encoding="utf-8")),
    ]
    return [(title, text) for title, text in found if text]
