"""Print `demure inspect --list`: all items, or all users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from demure_cli.output.rows import more_rows
from demure_cli.output.style import aside, count, heading, percent, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.verdicts import ID, ITEMS_LEGEND, items_table

if TYPE_CHECKING:
    from demure.diagnosis.tables import Listing


def show_listing(view: Listing) -> None:
    """Print the items or users that meet the conditions."""
    title = f"{count(view.total)} {'pairs of item and modality' if view.what == 'items' else view.what}"
    if view.matched != view.total:
        title += f", {count(view.matched)} meet the conditions"
    if len(view.rows) < view.matched:
        title += f"; {count(len(view.rows))} shown"
    more = more_rows(len(view.rows), view.matched)
    if view.what == "items":
        terminal.result(heading(title), items_table(view.rows, view.cannot_tell), *more, aside(ITEMS_LEGEND))
        return
    reliance = list(view.rows.columns[3 : 4 + len(view.modalities)])  # one column per modality, then none
    hidden = {name for name, modality in zip(reliance, view.modalities, strict=False) if modality in view.cannot_tell}
    names = [name for name in reliance if name not in hidden]
    interests = [("interests", {"ratio": 1, "overflow": "fold"})] if "interests" in view.rows else []
    columns: list[str | tuple[str, dict[str, Any]]] = [("user", ID), ">choices", "relies on"]
    shown = table([*columns, *(f">{name}" for name in names), *interests])
    for line in view.rows.to_dict("records"):
        shares = [percent(line[name]) for name in names]
        words = [line["interests"]] if interests else []
        row(shown, line["user_id"], count(line["interactions"]), line["relies_on"], *shares, *words)
    legend = "shares of the user's choices, also in --where and --sort (image>=0.8); --user ID shows one history"
    terminal.result(heading(title), shown, *more, aside(legend.replace("image", names[0]) if names else legend))
    terminal.notes(view.notes)
