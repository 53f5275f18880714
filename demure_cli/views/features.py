"""What `demure features` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from demure_cli.output.style import count, facts, heading, number, percent, row, table
from demure_cli.output.terminal import terminal

if TYPE_CHECKING:
    from demure.features.check import Checked
    from demure.features.exchange import Imported
    from demure.features.exporting import ExportedFeatures


def show_checked(result: dict[str, list[Checked]]) -> None:
    for first, one in enumerate(result["features"]):
        least, median, most = one.norms
        same = "" if one.same_input is None else f", {count(one.same_input)} with the same input"
        known: list[tuple[str, object]] = [
            ("made by", one.encoder),
            ("items", f"{count(one.present)} of {count(one.items)}, {percent(one.missing / one.items)} missing"),
            ("columns", f"{count(one.dim)}, {count(one.constant)} constant, effective {number(one.effective_dim, 1)}"),
            ("lengths", f"{least:.3g} to {most:.3g}, median {median:.3g}"),
            ("same vector", f"{count(one.duplicates)} items{same}"),
            ("mean cosine", number(one.similarity, 2)),
        ]
        terminal.result(*([""] if first else []), heading(one.name), facts(known))
        for words in one.warnings:
            terminal.result(f"look: {words}")
        if one.neighbours:
            columns: list[Any] = [
                ("item", {"no_wrap": True, "max_width": 14}),
                ("title", {"no_wrap": True, "ratio": 1}),
            ]
            shown = table([*columns, ">cosine"])
            shown.expand = True
            for several in one.neighbours:
                row(shown, several.item_id, several.title or "-", "")
                for near in several.nearest:
                    row(shown, f"  {near.item_id}", f"  {near.title or '-'}", number(near.similarity, 2))
            terminal.result("", shown)
    terminal.note("cosines to the nearest are of vectors less their mean")


def show_imported(result: dict[str, list[Imported]]) -> None:
    shown = table(
        [
            "modality",
            ("from", {"overflow": "fold"}),
            ("rows told by", {"overflow": "fold"}),
            ">dim",
            ">with",
            ">missing",
        ]
    )
    for made in result["imported"]:
        row(shown, made.name, made.source, made.by, count(made.dim), count(made.present), count(made.missing))
    terminal.result(shown)
    for made in result["imported"]:
        if made.unknown or made.absent:
            terminal.note(
                f"{made.name}: {count(made.unknown)} rows of no item, {count(made.absent)} items without a row"
            )
    terminal.note("next: demure features check")


def show_exported(result: ExportedFeatures) -> None:
    made = [("written", result.folder), ("features", ", ".join(result.modalities)), ("items", count(result.items))]
    terminal.result(facts([*made, ("files", count(result.files))]))
