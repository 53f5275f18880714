"""Print `demure worklist`: the summary, then the rows by kind with their reason, words and picture."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.padding import Padding
from rich.text import Text

from demure.diagnosis.worklist.finding import COLUMNS, KINDS, cost_sentence
from demure_cli.output.characters import safe, unfolded_numbers
from demure_cli.output.rows import first_rows, more_rows
from demure_cli.output.style import aside, count, heading
from demure_cli.output.terminal import terminal
from demure_cli.views.verdicts import sentences

if TYPE_CHECKING:
    from collections.abc import Hashable

    from rich.console import RenderableType

    from demure.diagnosis.worklist import WorkList

_MOST = 5  # rows of a kind
_FIELDS = f"--where and --sort take {', '.join(COLUMNS)}."
_WORDS = 110  # characters of an item's words


def show(view: WorkList) -> None:
    """Print the summary, and the first rows of each kind."""
    parts: list[RenderableType] = [*sentences(view.summary), ""]
    if view.matched != view.total:
        parts += [Text(f"{count(view.matched)} of these {count(view.total)} findings meet the conditions."), ""]
    for kind, label in KINDS.items():
        rows = view.rows[view.rows["kind"] == kind].to_dict("records")
        if rows:
            parts += _kind(label, rows)
    if not view.rows.empty:
        parts.append(aside(f"{view.rule} {_FIELDS}"))
    terminal.result(*parts)
    terminal.notes(view.notes)
    if view.out is not None:
        terminal.note(f"{count(len(view.rows))} rows: {view.out}")
    elif len(view.rows):
        terminal.note("more: --out FILE.csv for all rows, with words, pictures and what to do; inspect RUN --item ID")


def _kind(label: str, rows: list[dict[Hashable, Any]]) -> list[RenderableType]:
    first = first_rows(rows, _MOST)
    title = f"{label[0].upper()}{label[1:]} ({count(len(rows))})"
    remedy = f"--kind {rows[0]['kind']} --top N for more of them"
    return [heading(title), *map(_finding, first), *more_rows(len(first), len(rows), remedy=remedy), ""]


def _finding(line: dict[Hashable, Any]) -> RenderableType:
    """Return the rank, the item and the choices concerned, and below them the reason, the words and the picture."""
    name = f"{line['item_id']} {line['title']}".strip() or line["modality"]
    choices = f"{count(line['choices'])} choice{'s' * (line['choices'] != 1)}, {line['sign']}"
    first = Text.assemble(f"{line['rank']:>3}  ", (safe(name), "bold"), f"  ({choices})")
    prose = f"{line['reason']} {line['suggestion']} {cost_sentence(line['cost'])}".rstrip()
    below = [Text(unfolded_numbers(prose))]
    if line["text"]:
        words = line["text"]
        words = words if len(words) <= _WORDS else words[: _WORDS - 1].rsplit(" ", 1)[0] + "…"
        below.append(aside(f"“{words}”"))
    if line["picture"]:
        below.append(aside("/".join(PurePath(line["picture"]).parts[-2:])))
    return Group(first, Padding(Group(*below), (0, 0, 0, 5)))
