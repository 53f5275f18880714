"""Print the result of `demure export --verdicts`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demure_cli.output.style import count, facts, number, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.verdicts import sentences

if TYPE_CHECKING:
    from demure.serving.verdicts import VerdictExport


def show(result: VerdictExport) -> None:
    """Print the weights by modality, the files, and what limits the weights."""
    terminal.result(facts([("written", result.out), ("choices", count(result.interactions))]), "")
    shown = table(["modality", "column", ">choices with it", ">mean weight"])
    for modality in result.modalities:
        row(shown, modality.modality, modality.column, count(modality.present), number(modality.mean, 2))
    terminal.result(shown, "")
    files = table([("file", {"overflow": "fold"}), ">MB"])
    for name, size in result.files.items():
        row(files, name, number(size / 1e6, 2))
    terminal.result(files, *([""] if result.notes else []), *sentences(f"{note}." for note in result.notes))
