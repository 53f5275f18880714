"""Show the first rows of a long result, and say how many more there are and how to see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from rich.text import Text

from demure_cli.output.style import aside, count
from demure_cli.output.terminal import terminal

Row = TypeVar("Row")

SHOWN = 10
"""Rows of a table that a view shows by default."""


def first_rows(rows: Sequence[Row], most: int = SHOWN, *, last: bool = False) -> Sequence[Row]:
    """Return at most ``most`` rows, the ``last`` or the first; all of them with ``--top`` or ``--long``."""
    if terminal.all_rows or len(rows) <= most:
        return rows
    return rows[-most:] if last else rows[:most]


def more_rows(shown: int, total: int, which: str = "more", remedy: str = "--top N for more of them") -> list[Text]:
    """Return a line that says how many of the ``total`` rows are not shown, if any, and how to see them."""
    left = total - shown
    return [aside(f"{count(left)} {which}: {remedy}, --long for all")] if left > 0 else []
