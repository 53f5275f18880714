"""Print `demure inspect --segment`: the share of points of interest by parts of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from demure.diagnosis.filtering import heading_of
from demure_cli.output.rows import first_rows, more_rows
from demure_cli.output.style import aside, count, heading, percent, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.verdicts import BAR_WIDTH, KINDS, bar

if TYPE_CHECKING:
    from demure.diagnosis.tables import Segments

_COUNTS = ("users", "items", "interactions")
_SHOWN = 20
_COUNT_WIDTH, _SHARE_WIDTH, _NAME_WIDTH = 8, 10, 24


def show_segments(view: Segments) -> None:
    """Print a row per segment: its size, and the share of points of interest per modality, with a bar where the
    terminal is wide enough."""
    from demure.diagnosis.placebo import CANNOT_TELL

    names = list(view.table.columns[1 + len(_COUNTS) :])
    room = terminal.width - _NAME_WIDTH - len(_COUNTS) * _COUNT_WIDTH - _SHARE_WIDTH * len(names)
    with_bars = room >= BAR_WIDTH * len(names)
    columns: list[str | tuple[str, dict[str, Any]]] = [("segment", {"overflow": "fold", "min_width": 10})]
    columns += [f">{heading_of(name, view.table.columns)}" for name in _COUNTS]
    for name in names:
        columns += [f">{name}", *([""] if with_bars else [])]
    shown = table(columns)
    lines = view.table.to_dict("records")
    segments = first_rows(lines, _SHOWN)
    for line in segments:
        mark = "?" if line["interactions"] < view.few else ""
        cells: list[object] = [count(line[name]) for name in _COUNTS]
        for name, modality in zip(names, view.modalities, strict=True):
            informative = modality not in view.cannot_tell
            cells.append(percent(line[name]) + mark if informative else "-")
            if with_bars:
                cells.append(bar(line[name], 1.0) if informative else "")
        row(shown, line["segment"], *cells)
    legend = "per modality: share of the choices for which it was a point of interest, where the item has it"
    if (view.table["interactions"] < view.few).any():
        legend += f"; ?: fewer than {view.few} choices, which is little"
    if view.cannot_tell:
        legend += f"; -: {CANNOT_TELL}, the features explain no more than shuffled ones"
    terminal.result(heading(f"By {KINDS[view.kind]}"), shown)
    terminal.result(*more_rows(len(segments), len(lines)), aside(legend))
    terminal.note(f"one segment: demure inspect RUN --segment {view.kind}=NAME")
