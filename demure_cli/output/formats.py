"""Print tables for papers and for other programs: Markdown, LaTeX, CSV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from demure.errors import DemureError
from demure.files import quote_formula
from demure_cli.output.plain import plain
from demure_cli.output.terminal import terminal

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("table", "markdown", "csv", "latex", "json")


Result = TypeVar("Result")


@dataclass(frozen=True)
class Formatted(Generic[Result]):
    """A result, and the format in which to print it."""

    result: Result
    form: str

    def to_dict(self) -> Any:
        """Return the result itself, for ``--json``."""
        return plain(self.result)


def check_format(name: str) -> str:
    """Return ``name`` if it is a format. Raises ``DemureError`` otherwise."""
    if name not in FORMATS:
        raise DemureError(f"unknown format {name!r}", where="--format", remedy=f"use one of {', '.join(FORMATS)}")
    return name


def write(frame: pd.DataFrame, form: str, *, digits: int = 4) -> None:
    """Print a frame in the format ``form``: csv in full precision, markdown and latex with ``digits`` decimals."""
    if form == "csv":
        terminal.raw(frame.map(quote_formula).to_csv(index=False, lineterminator="\n"))
        return
    shown = frame.copy()
    for column in shown.columns:
        if shown[column].dtype.kind == "f":
            shown[column] = ["" if value != value else f"{value:.{digits}f}" for value in shown[column]]
        else:
            shown[column] = shown[column].astype(str)
    numeric = [frame[column].dtype.kind in "if" for column in frame.columns]
    if form == "markdown":
        escaped = shown.map(lambda cell: cell.replace("|", "\\|").replace("\n", " "))
        aligned = ["right" if number else "left" for number in numeric]
        terminal.raw(escaped.to_markdown(index=False, disable_numparse=True, colalign=aligned))
    else:
        style = shown.style.hide(axis="index").format(escape="latex").format_index(escape="latex", axis="columns")
        columns = "".join("r" if number else "l" for number in numeric)
        terminal.raw(style.to_latex(hrules=True, column_format=columns))
