"""Format headings, tables, numbers and verdicts. A verdict is always a word; its colour only repeats it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from demure.diagnosis.verdict import Verdict, probability_of
from demure_cli.output.characters import safe, unfolded_numbers
from demure_cli.output.fitted import FittedTable

VERDICT_STYLES = {Verdict.POI: "bold green", Verdict.NOISE: "yellow", Verdict.MISSING: "dim"}


def heading(text: str) -> Text:
    """Return a heading above a table; rich would fold the title of a table to the table's width."""
    return Text(unfolded_numbers(text), style="bold")


def aside(text: str) -> Text:
    """Return an explanation below a table."""
    return Text(unfolded_numbers(text), style="dim")


def table(columns: Iterable[str | tuple[str, dict[str, Any]]]) -> Table:
    """Return an empty table; a column is its name, or its name and rich's options for it.

    A name that starts with ``>`` is a column of numbers, aligned to the right.
    """
    shown = FittedTable()
    for column in columns:
        name, options = (column, dict[str, Any]()) if isinstance(column, str) else column
        right = name.startswith(">")
        look: dict[str, Any] = {
            "justify": "right" if right else "left",
            "no_wrap": right,
            "overflow": "fold",
            **options,
        }
        if look["no_wrap"]:
            look["overflow"] = "ellipsis"
        shown.add_column(Text(safe(name.removeprefix(">")), no_wrap=False, overflow="fold"), **look)
    return shown


def row(shown: Table, *cells: object) -> None:
    """Add a row. Cells that are not renderables of rich are printed as they are, never read as markup."""
    shown.add_row(*(cell if hasattr(cell, "__rich_console__") else Text(unfolded_numbers(cell)) for cell in cells))


def facts(pairs: Sequence[tuple[str, object]]) -> Table:
    """Return a table of names and values."""
    shown = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2))
    shown.add_column(style="dim", no_wrap=True)
    shown.add_column(overflow="fold")
    for name, value in pairs:
        row(shown, name, value)
    return shown


def percent(share: float) -> str:
    """Return ``.4567`` as ``45.7 %``; a dash for NaN."""
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"


def number(value: float, digits: int = 4) -> str:
    """Return a number with ``digits`` decimals; a dash for NaN."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def signed(value: float, digits: int = 2) -> str:
    """Return a number with its sign and ``digits`` decimals; a dash for NaN."""
    return "-" if math.isnan(value) else f"{value:+.{digits}f}"


def interval(low: float, high: float, sign: str = "") -> str:
    """Return the bounds of an interval with four decimals, with signs if ``sign`` is ``+``."""
    return f"{low:{sign}.4f} to {high:{sign}.4f}"


def or_dash(text: str | None) -> str:
    """Return a title or name, or a dash for an empty one."""
    return text or "-"


def count(value: int) -> str:
    """Return an integer with a comma between thousands."""
    return f"{value:,}"


def no_answer() -> Text:
    """Return the text in place of a verdict or share of a modality whose features explain nothing."""
    from demure.diagnosis.placebo import CANNOT_TELL

    return Text(CANNOT_TELL, style="dim")


def verdict(word: str, poi_probability: float, *, unsure: bool = False) -> Text:
    """Return ``poi 0.93`` or ``noise 0.93``: the verdict in its colour with the probability of that word, and a
    question mark if ``unsure``; no number where the other word is likelier, and none for a missing modality."""
    style = VERDICT_STYLES[Verdict(word)]
    if word == Verdict.MISSING:
        return Text(word, style=style)
    probability = probability_of(word, poi_probability)
    # A verdict of noise asks for no positive evidence, so that it can be less probable than a point of interest.
    number = f" {probability:.2f}" if probability >= 0.5 else ""
    return Text(f"{word}{number}{'?' if unsure else ''}", style=style)
