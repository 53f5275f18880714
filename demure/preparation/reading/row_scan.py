"""The lines of delimited text as rows, without reading their values: which rows are whole, and which are not."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import IO

_PIECE = 1 << 22  # bytes
_LONGEST_ROW = 1 << 24  # bytes; Arrow reads no longer one either
_MANY, _NEARLY_ALL = 3, 0.8
_LISTED = 1000  # rows of a kind whose text is kept
UNQUOTED_DELIMITERS = "\t\x01\x1f"  # files with these are as good as never quoted
_EOL = rb"(?:\r\n?|\n)"
_LINE_END = re.compile(_EOL)
_BLANK_LINES = re.compile(_EOL + rb"++")


class Quoting(StrEnum):
    """What a quotation mark at the start of a value means.

    ``DOUBLE`` is RFC 4180: the value ends at the next mark, and two marks are one. With ``BACKSLASH``, a mark after a
    backslash is one too. With ``NONE`` a mark is a character like any other.
    """

    NONE = "none"
    DOUBLE = "double"
    BACKSLASH = "backslash"


@dataclass(frozen=True)
class ScannedRow:
    """A row that stands out: its ``number`` from 1 (blank lines do not count), number of ``columns``, and ``text``.

    ``columns`` is 0 for a row with a quotation mark that does not close where a value ends.
    """

    number: int
    columns: int
    text: str


@dataclass
class RowScan:
    """The rows of a text in one way of quoting.

    Attributes:
        columns: number of values that a row should have.
        rows: number of rows; ``lines``: number of their lines.
        unclosed: the rows with a quotation mark that does not close where a value ends; after one, the scan goes on in
            the next line.
        other_length: the rows that have another number of columns.
        multi_line: number of whole rows with a line break within a value.
        doubtful: those of them whose lines look like rows, as rows that an open quotation mark swallowed do.
    """

    columns: int
    rows: int = 0
    lines: int = 0
    unclosed: list[ScannedRow] = field(default_factory=list)
    other_length: list[ScannedRow] = field(default_factory=list)
    multi_line: int = 0
    doubtful: list[ScannedRow] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Return whether every row has its columns, and every value its end."""
        return not self.unclosed and not self.other_length


class RowPatterns:
    """The regular expressions of rows; possessive, so that their time is linear in the text."""

    def __init__(self, delimiter: str, quoting: Quoting) -> None:
        d = re.escape(delimiter.encode())
        self.delimiter = delimiter.encode()
        if quoting is Quoting.NONE:
            cell, line_cell = rb"[^%b\r\n]*+" % d, rb"[^%b\r\n]*+" % d
            self.quoted = re.compile(rb"(?!)")
        elif quoting is Quoting.DOUBLE:
            quoted = rb'"(?:[^"]++|"")*+"'
            self.quoted = re.compile(quoted)
            plain = rb'(?!")[^%b\r\n]*+' % d
            cell = rb"(?:%b(?=[%b\r\n])|%b)" % (quoted, d, plain)
            line_cell = rb'(?:"(?:[^"\r\n]++|"")*+"(?=[%b\r\n])|%b)' % (d, plain)
        else:
            quoted = rb'"(?:[^"\\]++|\\[\x00-\xff]|"")*+"'
            self.quoted = re.compile(quoted)
            plain = rb'(?!")(?:[^%b\r\n\\]++|\\[^\r\n])*+' % d
            cell = rb"(?:%b(?=[%b\r\n])|%b)" % (quoted, d, plain)
            line_cell = rb'(?:"(?:[^"\r\n\\]++|\\[^\r\n]|"")*+"(?=[%b\r\n])|%b)' % (d, plain)
        self.cell, self._cell, self._line_cell, self._escaped = re.compile(cell), cell, line_cell, d

    def run_of_rows(self, columns: int) -> re.Pattern[bytes]:
        """Return the pattern of rows of one line each, with ``columns`` values."""
        return re.compile(rb"(?:%b)++" % self._row(self._line_cell, columns))

    def whole_row(self, columns: int) -> re.Pattern[bytes]:
        """Return the pattern of one row with ``columns`` values, which may have line breaks."""
        return re.compile(self._row(self._cell, columns))

    def _row(self, cell: bytes, columns: int) -> bytes:
        return rb"(?![\r\n])%b(?:%b%b){%d}+%b" % (cell, self._escaped, cell, columns - 1, _EOL)

    def row_at(self, text: bytes, start: int) -> tuple[int, int, bool]:
        """Return the number of columns and the end of the row at ``start``, and whether all of it is in ``text``.

        The number is 0 where a quotation mark does not close at the end of a value.
        """
        position, columns = start, 0
        while True:
            match = self.cell.match(text, position)
            if match is None:
                quoted = self.quoted.match(text, position)
                is_closed = quoted is not None and quoted.end() < len(text)
                return 0, position, is_closed
            columns, position = columns + 1, match.end()
            if position >= len(text):
                return columns, position, False
            if text.startswith(self.delimiter, position):
                position += len(self.delimiter)
                if position >= len(text):
                    return columns + 1, position, False
                continue
            end = _LINE_END.match(text, position)
            return (0, position, True) if end is None else (columns, end.end(), True)


def scan_rows(text: IO[bytes], delimiter: str, columns: int, quoting: Quoting, first_number: int = 1) -> RowScan:
    """Return the rows of UTF-8 ``text``, which should have ``columns`` values each; the first has ``first_number``."""
    patterns = RowPatterns(delimiter, quoting)
    run_of_rows, whole_row = patterns.run_of_rows(columns), patterns.whole_row(columns)
    scan, buffer, position, is_end = RowScan(columns), b"", 0, False
    while True:
        run = run_of_rows.match(buffer, position)
        if run is not None:
            rows = _count_lines(run.group())
            scan.rows, scan.lines, position = scan.rows + rows, scan.lines + rows, run.end()
        blank = _BLANK_LINES.match(buffer, position)
        if blank is not None:
            position = blank.end()
            continue
        whole = whole_row.match(buffer, position)
        if whole is not None:
            n_columns, end, is_complete = columns, whole.end(), True
        elif position < len(buffer):
            n_columns, end, is_complete = patterns.row_at(buffer, position)
        else:
            n_columns, end, is_complete = 0, position, False
        if not is_complete and not is_end and len(buffer) - position < _LONGEST_ROW:
            piece = text.read(_PIECE)
            is_end = not piece
            buffer, position = buffer[position:] + piece, 0
            if is_end and buffer and not buffer.endswith((b"\n", b"\r")):
                buffer += b"\n"
            continue
        if position >= len(buffer):
            return scan
        if n_columns == 0 or not is_complete:
            n_columns, end = 0, _end_of_line(buffer, position)
        _add_row(scan, buffer[position:end], n_columns, patterns.delimiter, first_number)
        position = end


def _add_row(scan: RowScan, text: bytes, n_columns: int, delimiter: bytes, first_number: int) -> None:
    lines = max(1, _count_lines(text))
    kind = None
    if n_columns == 0:
        kind = scan.unclosed
    elif n_columns != scan.columns:
        # Lines that an open quotation mark swallowed are no row that may be skipped.
        kind = scan.other_length if lines == 1 else scan.unclosed
    elif lines > 1:
        scan.multi_line += 1
        kind = scan.doubtful if _looks_like_rows(text, scan.columns, delimiter) else None
    if kind is not None:
        shown = text[:200].decode("utf-8", "replace").rstrip("\r\n") if len(kind) < _LISTED else ""
        kind.append(ScannedRow(first_number + scan.rows, n_columns, shown))
    scan.rows, scan.lines = scan.rows + 1, scan.lines + lines


def _looks_like_rows(text: bytes, columns: int, delimiter: bytes) -> bool:
    """Return whether the lines have the delimiters of a row, and one begins with a word where the first line does.

    All lines must, or nearly all of many between the first and the last: a swallowed row may be broken itself.
    """
    lines = [line for line in _LINE_END.split(text) if line]
    is_row = [line.count(delimiter) == columns - 1 for line in lines]
    inner = is_row[1:-1]
    if not all(is_row) and (len(inner) < _MANY or sum(inner) < _NEARLY_ALL * len(inner)):
        return False
    if delimiter.decode() in UNQUOTED_DELIMITERS:
        return True
    first, *others = (len(line.split(delimiter, 1)[0].split()) > 1 for line in lines)
    return first in others


def _end_of_line(text: bytes, position: int) -> int:
    end = _LINE_END.search(text, position)
    return len(text) if end is None else end.end()


def _count_lines(text: bytes) -> int:
    return text.count(b"\n") + text.count(b"\r") - text.count(b"\r\n")
