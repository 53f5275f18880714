"""The content of every page of a run, written to a file or served: the overview, its charts, how it was made."""

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
from demure.diagnosis.reader import EXPORT_COLUMNS, DiagnosisReader
from demure.diagnosis.segments import COUNT_COLUMNS
from demure.errors import DemureError
from demure.progress import Listener, silent
from demure.report import charts
from demure.report.comparing import ComparedRuns, compare_with
from demure.report.interests import PageInterests, page_interests
from demure.report.work import PageWork, page_work
from demure.runs.folder import RECIPE

_RUN_KEYS = ("recipe", "model", "seed", "device", "epochs", "best_epoch", "demure_version")
_FEATURE_KEYS = ("dim", "present", "missing", "features_sha256")
_LEAST_POINTS = 3  # of a line
_TITLES = {
    "category": "Points of interest by category of the item",
    "time": "Points of interest over time",
    "history": "Points of interest by how many choices the user made",
    "popularity": "Points of interest by how often the item was chosen",
}


@dataclass(frozen=True)
class Chart:
    """A plotly figure with its title, and the same numbers as a table (None if the page has them already).

    ``figure``: None where there are too few points to draw, so that the numbers stand alone.
    """

    key: str
    title: str
    figure: dict[str, Any] | None
    numbers: pd.DataFrame | None = None


@dataclass(frozen=True)
class PageContent:
    """Everything on a page but the single users and items."""

    overview: tables.Overview
    interests: PageInterests
    work: PageWork
    charts: dict[str, Chart]
    calibration: Calibration | None
    comparison: ComparedRuns | None
    facts: list[tuple[str, list[tuple[str, str]]]]
    files: list[tuple[str, str]]


def page_content(
    reader: DiagnosisReader,
    *,
    truth: Path | str | None = None,
    compare: Sequence[Path | str] = (),
    listener: Listener = silent,
) -> PageContent:
    """Return everything on a page but users and items. ``truth``: a file as ``calibration.calibration`` reads it;
    ``compare``: runs on the same split. Raises as ``calibration`` and ``compare_with``."""
    overview = tables.overview(reader)
    comparison = compare_with(reader, compare, listener) if compare else None
    scored = None if truth is None else calibration(truth, reader.diagnosis(EXPORT_COLUMNS).to_pandas())
    runs = {reader.run.name: reader.run} if comparison is None else comparison.paths
    return PageContent(
        overview=overview,
        interests=page_interests(reader),
        work=page_work(reader),
        charts=_charts(reader, overview, scored, runs),
        calibration=scored,
        comparison=comparison,
        facts=_facts(reader),
        files=_files(reader),
    )


def _charts(
    reader: DiagnosisReader, overview: tables.Overview, scored: Calibration | None, runs: Mapping[str, Path]
) -> dict[str, Chart]:
    columns = [name for name in overview.reliance["modality"] if name not in overview.cannot_tell]
    palette = charts.colours(reader.reliance_names)  # of all, so that a colour means one modality everywhere
    explaining = [name for name in reader.table.modalities if name not in overview.cannot_tell]
    histogram = {name: counts for name, counts in _histogram(reader).items() if name in explaining}
    histogram_table = pd.DataFrame(
        {"probability": [f"{k / 20:.2f}-{(k + 1) / 20:.2f}" for k in range(20)], **histogram}
    )
    figures = [
        Chart(
            "shares",
            "Share of interactions by verdict",
            charts.verdict_shares(overview.modalities, overview.cannot_tell),
        ),
    ]
    if explaining:
        figures.append(
            Chart(
                "probabilities", "How sure the verdicts are", charts.probabilities(histogram, palette), histogram_table
            )
        )
        figures.append(
            Chart("reliance", "How much users rely on each", charts.reliance(reader.reliance(), columns, palette))
        )
    for kind, title in _TITLES.items():
        try:
            segments = tables.segments(reader, kind)
        except DemureError:  # the data has no categories, or no timestamps
            continue
        if explaining and len(segments.table) > 1:
            first = len(COUNT_COLUMNS)
            hidden = [first + m for m, name in enumerate(reader.table.modalities) if name not in explaining]
            table = segments.table.drop(columns=segments.table.columns[hidden])
            ordered = kind != "category"
            drawn = not ordered or len(table) >= _LEAST_POINTS
            figure = charts.parts(table, explaining, palette, ordered=ordered) if drawn else None
            figures.append(Chart(kind, title, figure, _poi_numbers(table)))
    if scored is not None:
        figure = charts.calibration(scored.curve, reader.table.modalities)
        numbers = scored.curve.rename(columns={"predicted": "mean probability", "caused": "share that truly was"})
        figures.append(Chart("calibration", "Predicted probability and true share", figure, numbers))
    for k, (title, figure, numbers) in enumerate(charts.epochs(runs)):
        figures.append(Chart(f"epochs{k}", title, figure if len(numbers) >= _LEAST_POINTS else None, numbers))
    return {chart.key: chart for chart in figures}


def _poi_numbers(table: pd.DataFrame) -> pd.DataFrame:
    names = table.columns[len(COUNT_COLUMNS) :]
    shares = {name: [f"{100 * share:.1f} %" if share == share else "–" for share in table[name]] for name in names}
    return table.assign(**shares).rename(columns={name: f"{name}: point of interest" for name in names})


def _histogram(reader: DiagnosisReader) -> dict[str, np.ndarray]:
    table, edges = reader.table, np.linspace(0, 1, 21)
    return {
        name: np.histogram(table.probability[table.present[:, m], m], edges)[0]
        for m, name in enumerate(table.modalities)
    }


def _facts(reader: DiagnosisReader) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return how the run was made, as headed lists of names and values; absent keys are left out."""
    run = reader.manifest.to_dict()
    dataset = reader.dataset_manifest
    sections = [
        ("Run", _pairs({key: run.get(key) for key in _RUN_KEYS})),
        ("Validation", _pairs(run.get("valid"))),
        ("Dataset", [("path", str(reader.dataset)), *_pairs(dataset.counts.to_dict())]),
        ("Hashes (SHA-256)", _pairs(run["dataset"].get("identity"))),
    ]
    for name, features in (run.get("features") or {}).items():
        values = {key: features.get(key) for key in _FEATURE_KEYS} | (features.get("provenance") or {})
        sections.append((f"Features: {name}", _pairs(values)))
    sections.append(("Versions", _pairs(run.get("environment"))))
    return [(title, pairs) for title, pairs in sections if pairs]


def _pairs(values: Any) -> list[tuple[str, str]]:
    if not isinstance(values, Mapping):
        return []
    return [(str(key), _value(value)) for key, value in values.items() if value is not None]


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _files(reader: DiagnosisReader) -> list[tuple[str, str]]:
    dataset = reader.dataset_manifest.to_dict()
    files = [
        ("The run (run.json)", json.dumps(reader.manifest.to_dict(), indent=2, ensure_ascii=False)),
        ("Its recipe (recipe.yaml)", reader.files.text(RECIPE) if reader.files.has(RECIPE) else ""),
        ("Its dataset (dataset.json)", json.dumps(dataset, indent=2, ensure_ascii=False)),
    ]
    return [(title, text) for title, text in files if text]
