"""Whether quotation marks delimit the values of a text: decided by all of its rows, never by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from demure.errors import DataError
from demure.preparation.problems import Findings
from demure.preparation.reading.header import Header
from demure.preparation.reading.row_scan import UNQUOTED_DELIMITERS, Quoting, RowScan, ScannedRow, scan_rows

QUOTES = ("auto", *(quoting.value for quoting in Quoting))
_RULE = 3  # rows; fewer alike may be chance


class QuotingDecision:
    """Scan a text in one way of quoting after the other, and decide for the first that makes whole rows of it.

    ``open_rows`` opens the text after its header, if it has one.
    """

    def __init__(
        self, path: Path, open_rows: Callable[[], IO[bytes]], header: Header, has_header: bool, skips_rows: bool
    ) -> None:
        self.path, self.open_rows, self.header, self.skips_rows = path, open_rows, header, skips_rows
        self.first_number = 2 if has_header else 1

    def scan(self, quoting: Quoting) -> RowScan:
        """Return the rows of the text in one way of quoting."""
        columns = len(self.header.names(quoting) if self.first_number == 2 else self.header.values(quoting))
        with self.open_rows() as text:
            return scan_rows(text, self.header.delimiter, columns, quoting, self.first_number)

    def is_usable(self, scan: RowScan) -> bool:
        """Return whether every row is whole, or may be skipped, and no row looks swallowed by another."""
        is_whole = not scan.unclosed and (self.skips_rows or not scan.other_length)
        return is_whole and not self.looks_swallowed(scan)

    def looks_swallowed(self, scan: RowScan) -> bool:
        """Return whether values with a line break look like rows that an open quotation mark swallowed.

        They do not if most of these values are doubtless, or most rows have one: marks that do not close are rare where
        quoting is usual.
        """
        n_doubtful = len(scan.doubtful)
        is_usual = self.header.delimiter not in UNQUOTED_DELIMITERS
        is_rule = is_usual and n_doubtful >= _RULE and 2 * n_doubtful > scan.rows
        return 2 * n_doubtful > scan.multi_line and not is_rule

    def decide(self, findings: Findings) -> tuple[Quoting, RowScan]:
        """Return the way of quoting, and its rows. Raises ``DataError`` with its row for a text that fits none."""
        header, name = self.header, self.path.name
        double = self.scan(Quoting.DOUBLE)
        is_usable = self.is_usable(double) and not header.is_open
        if is_usable and (double.is_whole or not _has_escapes(double)):
            return Quoting.DOUBLE, double
        odd_rows = [*double.unclosed, *double.doubtful, *double.other_length]
        cause = 1 if header.is_open else min(row.number for row in odd_rows)
        if not double.is_whole and _has_escapes(double) and not header.is_open:
            backslash = self.scan(Quoting.BACKSLASH)
            if self.is_usable(backslash):
                findings.note(rf"{name}: \" within a value is read as a quotation mark (row {cause})")
                return Quoting.BACKSLASH, backslash
        if is_usable:
            return Quoting.DOUBLE, double
        if header.delimiter in UNQUOTED_DELIMITERS and not header.is_quoted:
            none = self.scan(Quoting.NONE)
            if self.is_usable(none):
                reason = f"row {cause} has one that does not enclose a value"
                findings.note(f"{name}: quotation marks are read as characters, because {reason}")
                return Quoting.NONE, none
        if header.is_open:
            raise _unclosed(self.path, ScannedRow(1, 0, header.line))
        raise self.error(double)

    def error(self, scan: RowScan) -> DataError:
        """Return the error for a text of which not all rows can be used."""
        if not scan.unclosed and self.looks_swallowed(scan):
            row = scan.doubtful[0]
            problem = f"a value with a line break looks like several rows: {row.text[:80]!r}"
            remedy = "close its quotation mark, or state --quotes double if the value is right"
            return DataError(problem, where=f"{self.path}:{row.number}", remedy=remedy)
        if scan.unclosed:
            return _unclosed(self.path, scan.unclosed[0])
        row = scan.other_length[0]
        problem = f"has {row.columns} columns, not {scan.columns} as the first: {row.text[:80]!r}"
        remedy = "mend or remove that row, or use --bad-rows skip"
        return DataError(problem, where=f"{self.path}:{row.number}", remedy=remedy)


def _unclosed(path: Path, row: ScannedRow) -> DataError:
    problem = f"a quotation mark does not close at the end of its value: {row.text[:80]!r}"
    remedy = "mend that row, or state --quotes none if the marks are characters"
    return DataError(problem, where=f"{path}:{row.number}", remedy=remedy)


def _has_escapes(scan: RowScan) -> bool:
    return any('\\"' in row.text for row in (*scan.unclosed, *scan.other_length))


def report_rows(path: Path, scan: RowScan, findings: Findings) -> None:
    """Note how the numbers of lines and rows differ, and count the rows that are skipped or look like several."""
    if scan.multi_line:
        findings.note(
            f"{path.name}: {scan.lines} lines are {scan.rows} rows, as {scan.multi_line} have a line break in a value"
        )
    odd_rows = {
        ("row of which each line looks like a row", "read as one row"): scan.doubtful,
        ("row of another length", "skipped"): scan.other_length,
    }
    for (kind, action), rows in odd_rows.items():
        findings.add(kind, action, path, np.array([row.number for row in rows]), _text_of(rows))


def _text_of(rows: list[ScannedRow]) -> Callable[[int], str]:
    return lambda k: rows[k].text
