"""A table that fits its terminal: no heading is cut, and no word is broken that has room elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult

_GAP = 2  # columns of the terminal between two columns of the table
_READABLE = 32  # columns; a column that folds gets so many before a column that is cut gets more than it needs
_LONGEST_PART = 32  # columns; a longer word without a sign to break after is folded
_BREAKS = re.compile(r"(?<=[-/_.~=@+])(?=\w)")


@dataclass(frozen=True)
class _Needs:
    """The columns of the terminal that one column of a table needs: ``least``, and ``most`` that it can use."""

    least: int
    most: int
    folds: bool = False


class FittedTable(Table):
    """A table of rich whose columns get their width from their headings and cells.

    Headings are folded between words and never cut. Cells are folded between words, then after a hyphen, slash or the
    like; a column with ``no_wrap`` keeps its cells whole, or cuts them at its ``max_width``, or down to its
    ``min_width``. Where the terminal is too narrow even so, each row is a block with a line for each heading.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = self._fit(console, options)
        if widths is None:
            yield from self._blocks()
            return
        shown = Table(
            box=SIMPLE_HEAD,
            pad_edge=False,
            padding=(0, 1),
            collapse_padding=True,
            show_edge=False,
            show_header=self.show_header,
            leading=self.leading,
        )
        for column, width in zip(self.columns, widths, strict=True):
            look = {"justify": column.justify, "overflow": column.overflow, "no_wrap": column.no_wrap}
            shown.add_column(column.header, width=width, **look)  # type: ignore[arg-type]
        for cells in self._cells_by_row():
            pairs = zip(cells, self.columns, widths, strict=True)
            shown.add_row(*(cell if column.no_wrap else _broken(cell, width, console) for cell, column, width in pairs))
        yield shown

    def _cells_by_row(self) -> Iterator[tuple[RenderableType, ...]]:
        return zip(*(column.cells for column in self.columns), strict=True)

    def _fit(self, console: Console, options: ConsoleOptions) -> list[int] | None:
        """Return the width of each column, or None if there is not enough room."""
        needs = [self._needs(column, console, options) for column in self.columns]
        room = options.max_width - _GAP * (len(needs) - 1) - sum(need.least for need in needs)
        if room < 0:
            return None
        widths = _share_out(needs, room)
        spare = options.max_width - _GAP * (len(needs) - 1) - sum(widths)
        ratios = [column.ratio or 0 for column in self.columns]
        if self.expand and spare > 0 and any(ratios):
            widths[ratios.index(max(ratios))] += spare
        return widths

    def _needs(self, column: Column, console: Console, options: ConsoleOptions) -> _Needs:
        if column.width is not None:
            return _Needs(column.width, column.width)
        heading = Measurement(0, 0)
        if self.show_header:  # folded between words alone: recall@20 stays whole
            heading = Measurement.get(console, options, column.header)
        cells = [_measure(cell, console, options) for cell in column.cells]
        most = max((cell.maximum for cell in cells), default=0)
        least = most if column.no_wrap else max((cell.minimum for cell in cells), default=0)
        if column.max_width is not None:
            least, most = min(least, column.max_width), min(most, column.max_width)
        if column.min_width is not None:
            least = min(least, column.min_width) if column.no_wrap else max(least, min(most, column.min_width))
        least = max(least, heading.minimum, 1)
        return _Needs(least, max(most, heading.maximum, least), folds=not column.no_wrap)

    def _blocks(self) -> Iterator[RenderableType]:
        """Yield the rows as blocks: a line for each heading whose cell is not empty."""
        headings = [str(column.header) for column in self.columns]
        for k, cells in enumerate(self._cells_by_row()):
            if k:
                yield Text("")
            for heading, cell in zip(headings, cells, strict=True):
                if not isinstance(cell, Text):
                    yield cell
                elif cell.plain:
                    yield Text.assemble((f"{heading}: " if heading else "", "dim"), cell)


def _measure(cell: RenderableType, console: Console, options: ConsoleOptions) -> Measurement:
    """Return the width of the longest part that stays whole, and of the whole cell."""
    if not isinstance(cell, Text):
        return Measurement.get(console, options, cell)
    parts = [part for word in cell.plain.split() for part in _BREAKS.split(word)]
    longest = max((Text(part).cell_len for part in parts), default=0)
    whole = max((line.cell_len for line in cell.split("\n", allow_blank=True)), default=0)
    return Measurement(min(longest, _LONGEST_PART), whole)


def _broken(cell: RenderableType, width: int, console: Console) -> RenderableType:
    """Return a cell with line breaks in the words that are longer than ``width``, where words may be broken; the lines
    of an indented cell keep its indentation."""
    if not isinstance(cell, Text):
        return cell
    indentation = len(cell.plain) - len(cell.plain.lstrip(" "))
    if indentation:
        lines = _broken(cell[indentation:], width - indentation, console)
        assert isinstance(lines, Text)
        folded = lines.wrap(console, width - indentation, overflow="fold")
        return Text("\n").join(Text(" " * indentation) + line for line in folded)
    offsets = []
    for word in re.finditer(r"\S+", cell.plain):
        if Text(word[0]).cell_len <= width:
            continue
        start = 0
        ends = [*(match.start() for match in _BREAKS.finditer(word[0])), len(word[0])]
        for end, following in pairwise(ends):
            if Text(word[0][start:following]).cell_len > width:
                offsets.append(word.start() + end)
                start = end
    return Text("\n").join(cell.divide(offsets)) if offsets else cell


def _share_out(needs: Sequence[_Needs], room: int) -> list[int]:
    """Return widths that share ``room`` among the columns that can use it, on top of what each needs least: first among
    those whose cells would be folded into more lines, then among all."""
    widths = [need.least for need in needs]
    room -= _add(widths, [min(need.most, _READABLE) if need.folds else need.least for need in needs], room)
    _add(widths, [need.most for need in needs], room)
    return widths


def _add(widths: list[int], most: Sequence[int], room: int) -> int:
    """Widen columns up to ``most``, sharing ``room`` evenly among them; return how much of it was used."""
    before = room
    wanting = [k for k in range(len(widths)) if most[k] > widths[k]]
    while room > 0 and wanting:
        part = max(room // len(wanting), 1)
        for k in list(wanting):
            added = min(part, most[k] - widths[k], room)
            widths[k] += added
            room -= added
            if widths[k] == most[k]:
                wanting.remove(k)
    return before - room
