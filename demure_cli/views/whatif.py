"""Print `demure whatif`: the changes, the largest gain first, and what they are to groups of users."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from demure_cli.output.style import aside, count, heading, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.verdicts import sentences

if TYPE_CHECKING:
    from rich.table import Table

    from demure.diagnosis.whatif import Change, SegmentChange, WhatIf


def show(view: WhatIf) -> None:
    """Print a sentence, the changes as a table, and what they are to groups of users."""
    from demure.diagnosis.whatif.sentences import whatif_summary

    terminal.result(*sentences(whatif_summary(view)), "")
    terminal.result(_table(view.ranked), "")
    if view.changes[0].segments:
        shown = _segments(view.changes[0]) if len(view.changes) == 1 else _best_by_segment(view)
        title = "By users" if len(view.changes) == 1 else "The best change for each group of users"
        terminal.result(heading(title), shown, "")
    terminal.result(aside(view.caution))
    terminal.notes(view.notes)
    if view.ab_test is not None:
        terminal.note(f"who gets which variant in an experiment: {view.ab_test}")


def _table(changes: list[Change]) -> Table:
    shown = table([("change", {"overflow": "fold"}), ">chosen", ">95 % interval", ">best of all"])
    for change in changes:
        row(shown, change.what, *_numbers(change), f"{100 * change.best:.0f} %")
    return shown


def _segments(change: Change) -> Table:
    shown = table([("users", {"overflow": "fold"}), ">number", ">of its choices", ">chosen", ">95 % interval"])
    for own in change.segments:
        row(shown, own.segment, count(own.users), f"{100 * own.share:.0f} %", *_numbers(own))
    return shown


def _best_by_segment(view: WhatIf) -> Table:
    shown = table(
        [("users", {"overflow": "fold"}), ">number", ("best change", {"overflow": "fold"}), ">chosen", ">95 % interval"]
    )
    for own, change in view.best_by_segment():
        if change is None:
            row(shown, own.segment, count(own.users), Text("none", style="dim"), "", "")
        else:
            row(shown, own.segment, count(own.users), change.what, *_numbers(own))
    return shown


def _numbers(change: Change | SegmentChange) -> tuple[Text, str]:
    """Return the relative change, dim where it may be none, and its interval."""
    from demure.diagnosis.whatif.sentences import interval, signed_percent

    sure = change.low > 0 or change.high < 0
    return Text(signed_percent(change.relative), style="bold" if sure else "dim"), interval(change)
