"""The page's charts, as plotly figures in JSON; the page's script sets the colours of text and lines by theme."""

from __future__ import annotations

import html
import itertools
import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from demure.diagnosis.placebo import CANNOT_TELL
from demure.diagnosis.segments import COUNT_COLUMNS
from demure.diagnosis.verdict import Verdict
from demure.runs.folder import METRICS
from demure.runs.manifest import read_manifest, run_files

VERDICT_COLOURS: dict[str, str] = {
    Verdict.POI: "#1a9c6b",
    Verdict.NOISE: "#d9822b",
    Verdict.MISSING: "#8b929c",
    CANNOT_TELL: "rgba(139,146,156,0.35)",
}
PALETTE = ("#3f7fd9", "#c2578f", "#8a6fd1", "#2aa3b5", "#b58a2a", "#6b8f2a")
NONE_COLOUR = "#8b929c"
_BINS = 20
_MAX_BARS = 25


def colours(modalities: Sequence[str]) -> dict[str, str]:
    """Return one colour per modality, and grey for ``none``."""
    return {name: NONE_COLOUR if name == "none" else PALETTE[k % len(PALETTE)] for k, name in enumerate(modalities)}


def verdict_shares(modalities: pd.DataFrame, cannot_tell: Collection[str] = ()) -> dict[str, Any]:
    """Return stacked bars: of each modality's interactions the share of each verdict; for a modality in ``cannot_tell``
    the share of the interactions that have it."""
    figure = go.Figure()
    names = [_text(name) for name in modalities["modality"]][::-1]
    unanswered = modalities["modality"].isin(cannot_tell)
    columns = {word.value: modalities[word].where(~unanswered | (word is Verdict.MISSING), 0.0) for word in Verdict}
    if unanswered.any():
        columns[CANNOT_TELL] = (modalities[Verdict.POI] + modalities[Verdict.NOISE]).where(unanswered, 0.0)
    for word, column in columns.items():
        shares = [round(100 * share, 2) for share in column][::-1]
        figure.add_bar(
            y=names, x=shares, name=word, orientation="h", marker_color=VERDICT_COLOURS[word],
            hovertemplate="%{y}: %{x:.1f} % " + word + "<extra></extra>",
        )  # fmt: skip
    figure.update_layout(barmode="stack", xaxis={"title": {"text": "% of interactions"}, "range": [0, 100]})
    return _figure(figure, height=110 + 44 * len(names))


def reliance(frame: pd.DataFrame, order: Sequence[str], palette: Mapping[str, str]) -> dict[str, Any]:
    """Return how many users rely on each modality and how much: a line per modality over the share of their choices."""
    figure = go.Figure()
    edges = np.linspace(0, 1, _BINS + 1)
    middles = [round(50 * float(low + high), 2) for low, high in itertools.pairwise(edges)]
    for name in order:
        values = frame.loc[frame["modality"] == name, "reliance"].to_numpy(float)
        counts, _ = np.histogram(values, edges)
        figure.add_scatter(
            x=middles, y=counts.tolist(), name=_text(name), mode="lines", line={"color": palette[name], "shape": "hvh"},
            hovertemplate="%{y} users owe about %{x:.0f} % of their choices to " + _text(name) + "<extra></extra>",
        )  # fmt: skip
    figure.update_layout(
        xaxis={"title": {"text": "% of a user's choices"}, "range": [0, 100]}, yaxis={"title": {"text": "users"}}
    )
    return _figure(figure)


def probabilities(histogram: Mapping[str, np.ndarray], palette: Mapping[str, str]) -> dict[str, Any]:
    """Return interactions over the probability of a point of interest, a line per modality."""
    figure = go.Figure()
    for name, counts in histogram.items():
        edges = np.linspace(0, 1, len(counts) + 1)
        middles = [round(float(low + high) / 2, 4) for low, high in itertools.pairwise(edges)]
        figure.add_scatter(
            x=middles, y=[int(count) for count in counts], name=_text(name), mode="lines",
            line={"color": palette[name], "shape": "hvh"},
            hovertemplate="%{y} interactions near %{x:.2f}<extra>" + _text(name) + "</extra>",
        )  # fmt: skip
    figure.update_layout(
        xaxis={"title": {"text": "probability of a point of interest"}, "range": [0, 1]},
        yaxis={"title": {"text": "interactions"}},
    )
    return _figure(figure)


def parts(
    table: pd.DataFrame, modalities: Sequence[str], palette: Mapping[str, str], *, ordered: bool
) -> dict[str, Any]:
    """Return the share of points of interest per segment, from a ``Segments.table`` with the columns of ``modalities``
    only: lines if segments are ``ordered``, else bars."""
    figure = go.Figure()
    shown = table if ordered else table.sort_values("interactions", ascending=False, kind="stable").head(_MAX_BARS)
    names = [_text(name) for name in shown["segment"]]
    for m, name in enumerate(modalities):
        poi = [None if math.isnan(share) else round(100 * share, 2) for share in shown.iloc[:, len(COUNT_COLUMNS) + m]]
        trace = {"name": _text(name), "customdata": shown["interactions"].tolist()}
        if ordered:
            figure.add_scatter(
                x=names, y=poi, mode="lines+markers", line={"color": palette[name]}, **trace,
                hovertemplate="%{x}: %{y:.1f} % of %{customdata} choices<extra>" + _text(name) + "</extra>",
            )  # fmt: skip
        else:
            figure.add_bar(
                y=names, x=poi, orientation="h", marker_color=palette[name], **trace,
                hovertemplate="%{y}: %{x:.1f} % of %{customdata} choices<extra>" + _text(name) + "</extra>",
            )  # fmt: skip
    share, segment = {"title": {"text": "% point of interest"}}, {"type": "category"}
    if ordered:
        figure.update_layout(yaxis=share, xaxis=segment)
        return _figure(figure)
    figure.update_layout(xaxis=share, yaxis=segment | {"autorange": "reversed"})
    return _figure(figure, height=110 + (12 + 13 * len(modalities)) * len(names))


def calibration(curve: pd.DataFrame, modalities: Sequence[str]) -> dict[str, Any]:
    """Return the true share over the predicted probability (``Calibration.curve``), with the line of a perfect
    diagnosis."""
    figure = go.Figure()
    palette = colours(modalities)
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", name="perfect", line={"color": NONE_COLOUR, "dash": "dot"}, hoverinfo="skip"
    )
    for name in modalities:
        line = curve[curve["modality"] == name]
        figure.add_scatter(
            x=[round(value, 4) for value in line["predicted"]], y=[round(value, 4) for value in line["caused"]],
            customdata=line["pairs"].tolist(), name=_text(name), mode="lines+markers", line={"color": palette[name]},
            hovertemplate="predicted %{x:.2f}, true for %{y:.2f} of %{customdata}<extra>" + _text(name) + "</extra>",
        )  # fmt: skip
    figure.update_layout(
        xaxis={"title": {"text": "probability of a point of interest"}, "range": [0, 1]},
        yaxis={"title": {"text": "share that truly was"}, "range": [0, 1]},
    )
    return _figure(figure, height=380)


def epochs(runs: Mapping[str, Path]) -> list[tuple[str, dict[str, Any], pd.DataFrame]]:
    """Return title, chart and numbers of the losses, and of the metrics, per epoch in the metrics.jsonl of ``runs``
    (name -> folder); empty without such files."""
    rows = {name: _rows(path) for name, path in runs.items()}
    names = list(dict.fromkeys(name for epochs in rows.values() for row in epochs for name in row if name != "epoch"))
    groups = {
        "Likelihood and loss per epoch": [name for name in names if _is_loss(name)],
        "Validation per epoch": [name for name in names if _is_metric(name)],
    }
    return [(title, *_lines(rows, selected)) for title, selected in groups.items() if selected]


def _rows(run: Path) -> list[dict[str, float]]:
    files = run_files(run, read_manifest(run))
    if not files.has(METRICS):
        return []
    try:
        return [_flat(json.loads(line)) for line in files.text(METRICS).splitlines() if line.strip()]
    except (AttributeError, RecursionError, ValueError) as error:
        raise files.failed(METRICS, error) from error


_WORDS = {"valid_log_likelihood": "log-likelihood on validation", "loss": "training loss"}


def _is_loss(name: str) -> bool:
    return "loss" in name or "nll" in name or "likelihood" in name


def _is_metric(name: str) -> bool:
    return "@" in name


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, item in value.items():
        if isinstance(item, Mapping):
            flat |= _flat(item, f"{prefix}{name} ")
        elif isinstance(item, int | float) and not isinstance(item, bool):
            flat[prefix + name] = item
    return flat


def _lines(runs: Mapping[str, list[dict[str, float]]], names: list[str]) -> tuple[dict[str, Any], pd.DataFrame]:
    figure = go.Figure()
    several = sum(any(name in row for row in rows for name in names) for rows in runs.values()) > 1
    table, k = {}, 0
    for run, rows in runs.items():
        for name in names:
            points = {row.get("epoch", number): row[name] for number, row in enumerate(rows, start=1) if name in row}
            if not points:
                continue
            shown = _WORDS.get(name, name)
            label = f"{run}: {shown}" if several else shown
            figure.add_scatter(
                x=list(points), y=list(points.values()), name=_text(label), mode="lines+markers",
                line={"color": PALETTE[k % len(PALETTE)]},
            )  # fmt: skip
            table[label] = points
            k += 1
    figure.update_layout(xaxis={"title": {"text": "epoch"}})
    return _figure(figure), pd.DataFrame(table).rename_axis("epoch").sort_index().reset_index()


def _text(name: object) -> str:
    """Escape a name from the data: plotly reads some HTML in its texts."""
    return html.escape(str(name)).replace("%{", "% {")


def _figure(figure: go.Figure, height: int = 300) -> dict[str, Any]:
    figure.update_layout(
        template=None,
        height=height,
        margin={"l": 8, "r": 20, "t": 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=True,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
    )
    figure.update_xaxes(automargin=True, zeroline=False)
    figure.update_yaxes(automargin=True, zeroline=False, rangemode="tozero")
    loaded: dict[str, Any] = json.loads(figure.to_json())
    return loaded
