"""Print `demure inspect --item`: one item, the users who chose it, and items to compare it with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from demure_cli.output.characters import safe
from demure_cli.output.pictures import picture
from demure_cli.output.style import aside, count, facts, heading, or_dash, row, signed, table
from demure_cli.output.terminal import terminal
from demure_cli.views.verdicts import ID, TITLE, cell, shares

if TYPE_CHECKING:
    from rich.table import Table

    from demure.diagnosis.tables import ItemView

_MAX_USERS = 40


def show_item(view: ItemView) -> None:
    """Print what an item was chosen for, how it compares with other items, and who chose it."""
    chosen = f"{count(view.interactions)} times in training"
    if terminal.shows_pictures and view.picture:
        terminal.result(picture(view.picture))
    terminal.result(
        facts([("item", view.item_id), ("title", or_dash(view.title)), ("chosen", chosen)]),
        "",
        *shares("What it was chosen for", view.modalities, view.cannot_tell),
        "",
        heading("Compared with the other items"),
        *(Text(safe(line["says"])) for line in view.standing),
        "",
    )
    _show_similar(view)
    terminal.result(heading("Users who chose it, most probable point of interest first"), _users(view))
    if len(view.chosen_by) > _MAX_USERS:
        terminal.result(aside(f"{count(len(view.chosen_by) - _MAX_USERS)} more users: --json has all of them"))
    terminal.notes(view.notes, prefix="")


def _show_similar(view: ItemView) -> None:
    for modality, similar in view.compare.items():
        shown = table([("item", ID), ("title", TITLE), ">similarity", ">evidence", ">choices"])
        for item in similar:
            numbers = (f"{item['likeness']:.2f}", signed(item["evidence"]), count(item["interactions"]))
            row(shown, item["item_id"], or_dash(item["title"]), *numbers)
        title = (
            f"Items to compare with: similar in the other modalities, and their {modality} does better than is typical"
        )
        terminal.result(heading(title), shown, aside("similarity: mean cosine in the other modalities"), "")


def _users(view: ItemView) -> Table:
    from demure.diagnosis.user import date

    dated = any(date(user.time) for user in view.chosen_by)
    modalities = list(view.modalities["modality"])
    shown = table([("user", ID), *(["date"] if dated else []), ">choices", *modalities])
    for user in view.chosen_by[:_MAX_USERS]:
        verdicts = [cell(user.verdicts.get(name), informative=name not in view.cannot_tell) for name in modalities]
        row(shown, user.user_id, *([date(user.time)] if dated else []), count(user.choices), *verdicts)
    return shown
