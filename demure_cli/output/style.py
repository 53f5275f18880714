"""How tables, shares and verdicts look. A verdict is always a word; colour only repeats it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from demure_cli.output.terminal import safe

VERDICT_STYLES = {"poi": "bold green", "noise": "yellow", "missing": "dim"}


def heading(text: str) -> Text:
    """What stands above a table; a table's own title would be folded to its width."""
    return Text(safe(text), style="bold")


def aside(text: str) -> Text:
    """An explanation below a table."""
    return Text(safe(text), style="dim")


def table(columns: Iterable[str | tuple[str, dict[str, object]]]) -> Table:
    """An empty table in the house style; a column is its name, or its name and rich's options for it.

    A name that starts with ``>`` is a column of numbers, aligned to the right.
    """
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True, show_edge=False)
    for column in columns:
        name, options = (column, {}) if isinstance(column, str) else column
        right = name.startswith(">")
        shown.add_column(
            Text(safe(name.removeprefix(">"))), **{"justify": "right" if right else "left", "no_wrap": right, **options}
        )
    return shown


def row(shown: Table, *cells: object) -> None:
    """Add a row; cells that are not rich's own are printed as they are, never read as markup."""
    shown.add_row(*(cell if hasattr(cell, "__rich_console__") else Text(safe(cell)) for cell in cells))


def facts(pairs: Sequence[tuple[str, object]]) -> Table:
    """Names and values below each other."""
    shown = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2))
    shown.add_column(style="dim", no_wrap=True)
    shown.add_column(overflow="fold")
    for name, value in pairs:
        row(shown, name, value)
    return shown


def percent(share: float) -> str:
    """``.4567`` as ``45.7 %``; a dash where there is nothing to take a share of."""
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"


def number(value: float, digits: int = 4) -> str:
    """A metric or probability to ``digits`` places without the leading zero's clutter; a dash for NaN."""
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def count(value: int) -> str:
    """An integer with thousands set apart."""
    return f"{value:,}"


def no_answer() -> Text:
    """What stands in place of a verdict or a share where a modality's features explain nothing."""
    from demure.diagnosis.placebo import CANNOT_TELL

    return Text(CANNOT_TELL, style="dim")


def verdict(word: str, poi_probability: float, *, unsure: bool = False) -> Text:
    """``poi 0.93`` or ``noise 0.93``: the word in its colour with the probability of that word, and a question mark
    where it could be either; nothing is claimed about a missing modality."""
    from demure.diagnosis.uncertainty import probability_of

    probability = probability_of(word, poi_probability)
    style = VERDICT_STYLES.get(word, "")
    mark = "?" if unsure else ""
    return Text.assemble((word if word == "missing" else f"{word} {probability:.2f}{mark}", style))
