"""The start of delimited text: its delimiter, and the names of its columns."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass

from demure.preparation.reading.columns import names_users_and_items
from demure.preparation.reading.row_scan import Quoting, RowPatterns

_DELIMITERS = ",\t;|"
_RARE_DELIMITERS = ("\x01", "^", "~", ":", " ")
# Excel writes the delimiter into a line of its own.
_DELIMITER_LINE = re.compile(r'^"?sep=(.)"?\1*\s*$', re.IGNORECASE)
_SAMPLE_LINES, _SAMPLE_BYTES = 100, 1 << 16
_BLANK = re.compile(rb"(?:[ \t]*(?:\r\n?|\n))*")
_LINE = re.compile(rb"[^\r\n]*(?:\r\n?|\n)?")


def first_line(data: bytes) -> str:
    """Return the first line that is not blank and not ``sep=;``, without byte order mark."""
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    lines = re.split(r"\r\n|\n|\r", data.decode(encoding, "replace").removeprefix("\ufeff"))
    return next((line for line in lines if line.strip() and not _DELIMITER_LINE.match(line)), "")


def sniff_delimiter(header: str, columns: int = 0) -> str:
    """Return the delimiter that is most frequent outside quotes; a comma where there is none.

    A rare delimiter counts only where it separates a column of users from one of items, or makes as many ``columns`` as
    places are stated.
    """
    unquoted = "".join(header.split('"')[::2])
    most_frequent = max(_DELIMITERS, key=unquoted.count)
    if most_frequent in unquoted:
        return most_frequent
    splits = {rare: unquoted.split(rare) for rare in _RARE_DELIMITERS}
    by_name = (rare for rare, values in splits.items() if names_users_and_items(values))
    by_place = (rare for rare, values in splits.items() if len(values) >= columns > 1)
    return next(by_name, None) or next(by_place, ",")


@dataclass(frozen=True)
class Header:
    """The first row of a delimited text, which may hold the names of the columns.

    Attributes:
        start, end: bytes before the row, and with it.
        delimiter: of the text; ``is_stated``: by a line ``sep=;``.
        line: the row without its end.
        is_open: whether a quotation mark in it does not close at the end of a name.
        next_extra: the first value of the row after it that the header has no name for and that is not blank.
        next_rows: the values of the first lines after it.
    """

    start: int
    end: int
    delimiter: str
    is_stated: bool
    line: str
    is_open: bool
    next_extra: str | None
    next_rows: list[list[str]]

    def values(self, quoting: Quoting) -> list[str]:
        """Return the values of the row."""
        return self.line.split(self.delimiter) if quoting is Quoting.NONE else _split(self.line, self.delimiter)

    def names(self, quoting: Quoting) -> list[str]:
        """Return the values as names of columns; columns at the end without name or value may be missing in the row."""
        names = self.values(quoting)
        missing = len(self.next_rows[0]) - len(names) if self.next_extra is None else 0
        return [*names, *[""] * missing]

    @property
    def is_quoted(self) -> bool:
        """Return whether a name is in quotation marks."""
        return not self.is_open and self.values(Quoting.DOUBLE) != self.values(Quoting.NONE)


def read_header(head: bytes, delimiter: str | None = None, columns: int = 0) -> Header:
    """Return the header of a UTF-8 text that begins with ``head``; the delimiter is found where None.

    ``columns``: the number of columns that the text has at least, by their stated places.
    """
    start = _skip_blank(head, 0)
    stated = _DELIMITER_LINE.match(_text(_line_at(head, start)))
    if stated:
        start = _skip_blank(head, start + len(_line_at(head, start)))
    line = _line_at(head, start)
    if delimiter is None:
        delimiter = stated.group(1) if stated else sniff_delimiter(_text(line), columns)
    end = start + len(line)
    columns, row_end, is_complete = RowPatterns(delimiter, Quoting.DOUBLE).row_at(head + b"\n", start)
    is_open = not (columns and is_complete)
    if row_end > end and not is_open:  # a name with a line break, or a mark that does not close and swallows rows
        lines = [row for row in head[start:row_end].splitlines() if row]
        is_open = all(row.count(delimiter.encode()) == columns - 1 for row in lines)
        line, end = (line, end) if is_open else (head[start:row_end], row_end)
    names = _split(_text(line), delimiter)
    next_lines = [row for row in head[end : end + _SAMPLE_BYTES].splitlines() if row.strip()]
    next_rows = [_split(_text(row), delimiter) for row in next_lines[:_SAMPLE_LINES]] or [[]]
    extra = next((value for value in next_rows[0][len(names) :] if value.strip()), None)
    return Header(start, end, delimiter, bool(stated), _text(line), is_open, extra, next_rows)


def _skip_blank(head: bytes, position: int) -> int:
    match = _BLANK.match(head, position)
    return position if match is None else match.end()


def _line_at(head: bytes, position: int) -> bytes:
    match = _LINE.match(head, position)
    return b"" if match is None else match.group()


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r\n")


def _split(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader(line.splitlines(keepends=True), delimiter=delimiter), [])
    except csv.Error:  # a value is longer than the csv module reads
        return line.split(delimiter)
