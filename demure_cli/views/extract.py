"""Print the result of `demure extract`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demure_cli.output.style import aside, count, facts, heading, number, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.verdicts import sentences

if TYPE_CHECKING:
    from demure.extraction.summary import ExtractReport

_MAX_COLUMNS = 3  # a table names at most so many columns of the items


def show(result: ExtractReport) -> None:
    """Print a row per modality, the items without usable content, and notes."""
    shown = table(
        ["modality", ("encoder", {"overflow": "fold"}), ">dim", ">items", ">with features", ">missing", ">seconds"]
    )
    for modality in result.modalities:
        names = modality.columns
        columns = ", ".join(names) if len(names) <= _MAX_COLUMNS else f"{len(names)} columns"
        encoder = f"{modality.encoder} of {columns}" if names else modality.encoder
        numbers = (modality.dim, count(modality.items), count(modality.present), count(modality.missing))
        row(shown, modality.name, encoder, *numbers, number(modality.seconds, 1))
    made = [f"{count(own.present)} of {count(own.items)} items have {own.name} features" for own in result.modalities]
    terminal.result(*sentences([f"{'; '.join(made)}."] if made else []), *([""] if made else []), shown, "")
    terminal.result(facts([("dataset", result.dataset)]))
    _show_problems(result)
    for modality in result.modalities:
        if modality.kept is not None:
            terminal.note(f"{modality.name}: {modality.kept}")
        elif modality.resumed:
            done = f"{count(modality.resumed)} of {count(modality.distinct)}"
            terminal.note(f"{modality.name}: {done} inputs were encoded before")
        terminal.notes((*modality.assumed, *modality.notes), prefix=f"{modality.name}: ")
    terminal.notes(result.left_out, prefix="left out: ")


def _show_problems(result: ExtractReport) -> None:
    shown = table(["modality", "problem", ">items", ("example", {"no_wrap": True})])
    files = []
    for modality in result.modalities:
        for problem, items in modality.problems.items():
            examples = (
                f"{first['item_id']} {first['value']}" for first in modality.first if first["problem"] == problem
            )
            row(shown, modality.name, problem, count(items), next(examples, ""))
        if modality.problems:
            files.append(str(modality.folder / "problems.csv"))
    if files:
        terminal.result("", heading("Recorded as missing"), shown, aside(f"all of them: {', '.join(files)}"))
