"""Print `demure worklist`: the summary, then the rows by kind with their reason, words and picture."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from rich.text import Text

from demure.diagnosis.worklist.finding import KINDS
from demure_cli.output.characters import safe
from demure_cli.output.style import aside, count, heading, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.verdicts import sentences

if TYPE_CHECKING:
    from collections.abc import Hashable

    from rich.console import RenderableType
    from rich.table import Table

    from demure.diagnosis.worklist import WorkList

_MOST = 5  # rows of a kind
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
        parts.append(aside(view.rule))
    terminal.result(*parts)
    terminal.notes(view.notes)
    if view.out is not None:
        terminal.note(f"{count(len(view.rows))} rows: {view.out}")
    elif len(view.rows):
        terminal.note("more: --out FILE.csv for all rows, with words, pictures and what to do; inspect RUN --item ID")


def _kind(label: str, rows: list[dict[Hashable, Any]]) -> list[RenderableType]:
    title = f"{label[0].upper()}{label[1:]}"
    title += f" ({count(_MOST)} of {count(len(rows))})" if len(rows) > _MOST else f" ({count(len(rows))})"
    shown = table([">#", ">choices", "sign", ("finding", {"ratio": 1, "overflow": "fold"})])
    shown.expand = True
    for line in rows[:_MOST]:
        _add(shown, line)
    return [heading(title), shown, ""]


def _add(shown: Table, line: dict[Hashable, Any]) -> None:
    cell = Text()
    if line["item_id"]:
        name = f"{line['item_id']} {line['title']}" if line["title"] else line["item_id"]
        cell.append(safe(name), style="bold")
        cell.append("\n")
    cell.append(safe(f"{line['reason']} {line['suggestion']}"))
    if line["cost"] >= 1:
        cell.append(f" It costs about {line['cost']:.0f} of the choices.")
    if line["text"]:
        words = line["text"]
        words = words if len(words) <= _WORDS else words[: _WORDS - 1].rsplit(" ", 1)[0] + "…"
        cell.append("\n" + safe(f"“{words}”"), style="dim")
    if line["picture"]:
        cell.append("\n" + safe("/".join(PurePath(line["picture"]).parts[-2:])), style="dim")
    row(shown, line["rank"], count(line["choices"]), line["sign"], cell)
