"""Print the results of `demure features check`, `import` and `export`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demure_cli.output.style import count, facts, heading, number, or_dash, percent, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.verdicts import sentences

if TYPE_CHECKING:
    from rich.table import Table

    from demure.features.check import FeatureCheck, ItemExample
    from demure.features.exchange import ImportedFeatures
    from demure.features.exporting import ExportedFeatures


def show_check(result: dict[str, list[FeatureCheck]]) -> None:
    """Print the numbers, warnings and nearest items of each modality."""
    for k, check in enumerate(result["features"]):
        least, median, most = check.norms
        columns = f"{count(check.dim)}, {count(check.constant)} constant, effective {number(check.effective_dim, 1)}"
        same = "" if check.same_input is None else f", {count(check.same_input)} with the same input"
        missing = f"{percent(check.missing / check.items)} missing"
        pairs: list[tuple[str, object]] = [
            ("made by", check.encoder),
            ("items", f"{count(check.present)} of {count(check.items)}, {missing}"),
            ("columns", columns),
            ("norms", f"{least:.3g} to {most:.3g}, median {median:.3g}"),
            ("same vector", f"{count(check.duplicates)} items{same}"),
            ("mean cosine", number(check.similarity, 2)),
        ]
        terminal.result(*([""] if k else []), heading(check.name), facts(pairs))
        for warning in check.warnings:
            terminal.result(*sentences([f"warning: {warning}"]))
        if check.neighbours:
            terminal.result("", _nearest(check.neighbours))
    terminal.note("the cosines to the nearest items are of vectors less their mean")


def _nearest(examples: list[ItemExample]) -> Table:
    shown = table([("item", {"no_wrap": True, "max_width": 14}), ("title", {"no_wrap": True, "ratio": 1}), ">cosine"])
    shown.expand = True
    for item in examples:
        row(shown, item.item_id, or_dash(item.title), "")
        for near in item.nearest:
            row(shown, f"  {near.item_id}", f"  {or_dash(near.title)}", number(near.similarity, 2))
    return shown


def show_import(result: dict[str, list[ImportedFeatures]]) -> None:
    """Print a row per modality, and rows and ids that did not match."""
    fold = {"overflow": "fold"}
    shown = table(["modality", ("from", fold), ("rows matched by", fold), ">dim", ">with", ">missing"])
    for imported in result["imported"]:
        numbers = (imported.dim, imported.present, imported.missing)
        row(shown, imported.name, imported.source, imported.by, *map(count, numbers))
    terminal.result(shown)
    for imported in result["imported"]:
        if imported.unknown or imported.absent:
            unmatched = f"{count(imported.unknown)} rows without an item, {count(imported.absent)} items without a row"
            terminal.note(f"{imported.name}: {unmatched}")
    terminal.note("next: demure features check")


def show_export(result: ExportedFeatures) -> None:
    """Print the folder and its contents."""
    modalities = ", ".join(result.modalities)
    pairs = [("features", modalities), ("items", count(result.items)), ("files", count(result.files))]
    terminal.result(facts([*pairs, ("folder", result.folder)]))
