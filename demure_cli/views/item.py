"""Print `demure inspect --item`: one item, the users who chose it, and items to compare it with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from demure_cli.output.characters import safe
from demure_cli.output.pictures import picture
from demure_cli.output.rows import first_rows, more_rows
from demure_cli.output.style import aside, count, facts, heading, or_dash, percent, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.verdicts import ID, TITLE, cell, shares, verdicts_legend

if TYPE_CHECKING:
    from rich.table import Table

    from demure.diagnosis.item import Chooser
    from demure.diagnosis.tables import ItemView


def show_item(view: ItemView) -> None:
    """Print what an item was chosen for, how it compares with other items, and who chose it."""
    chosen = f"{count(view.interactions)} times in training"
    if terminal.shows_pictures and view.picture:
        terminal.result(picture(view.picture))
    terminal.result(
        facts([("item", view.item_id), ("title", or_dash(view.title)), ("chosen", chosen), *view.files.items()]),
        "",
        *shares("What it was chosen for", view.modalities, view.cannot_tell),
        "",
        heading("Compared with the other items"),
        *(Text(safe(line["says"])) for line in view.standing),
        "",
    )
    _show_similar(view)
    users = first_rows(view.chosen_by)
    more = more_rows(len(users), len(view.chosen_by))
    terminal.result(heading("Users who chose it, most probable point of interest first"), _users(view, users), *more)
    terminal.result(aside(verdicts_legend(list(view.modalities["modality"]))))
    terminal.notes(view.notes, prefix="")


def _show_similar(view: ItemView) -> None:
    for modality, similar in view.compare.items():
        shown = table([("item", ID), ("title", TITLE), ">similarity", ">choices"])
        for item in similar:
            numbers = (percent(item["likeness"]), count(item["interactions"]))
            row(shown, item["item_id"], or_dash(item["title"]), *numbers)
        title = (
            f"Items to compare with: similar in the other modalities, and their {modality} does better than is typical"
        )
        terminal.result(
            heading(title), shown, aside("similarity: mean cosine in the other modalities, 100 %: the same"), ""
        )


def _users(view: ItemView, users: Sequence[Chooser]) -> Table:
    from demure.diagnosis.user import date

    dated = any(date(user.time) for user in users)
    modalities = list(view.modalities["modality"])
    shown = table([("user", ID), *(["date"] if dated else []), ">choices", *modalities])
    for user in users:
        verdicts = [cell(user.verdicts.get(name), informative=name not in view.cannot_tell) for name in modalities]
        row(shown, user.user_id, *([date(user.time)] if dated else []), count(user.choices), *verdicts)
    return shown
