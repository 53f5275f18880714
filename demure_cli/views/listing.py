"""Print `demure inspect --list`: all items, or all users."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demure_cli.output.style import aside, count, heading, percent, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.verdicts import ITEMS_LEGEND, items_table

if TYPE_CHECKING:
    from demure.diagnosis.tables import Listing


def show_listing(view: Listing) -> None:
    """Print the items or users that meet the conditions."""
    title = f"{count(view.total)} {'pairs of item and modality' if view.what == 'items' else view.what}"
    if view.matched != view.total:
        title += f", {count(view.matched)} meet the conditions"
    if len(view.rows) < view.matched:
        title += f"; {count(len(view.rows))} shown"
    if view.what == "items":
        terminal.result(heading(title), items_table(view.rows, view.cannot_tell), aside(ITEMS_LEGEND))
        return
    reliance = list(view.rows.columns[3:])  # one column per modality, then none
    hidden = {name for name, modality in zip(reliance, view.modalities, strict=False) if modality in view.cannot_tell}
    names = [name for name in reliance if name not in hidden]
    shown = table([("user", {"overflow": "fold"}), ">interactions", "relies on", *(f">{name}" for name in names)])
    for line in view.rows.to_dict("records"):
        shares = [percent(line[name]) for name in names]
        row(shown, line["user_id"], count(line["interactions"]), line["relies_on"], *shares)
    terminal.result(heading(title), shown, aside("shares of the user's choices; --user ID shows one history"))
    terminal.notes(view.notes)
