"""Delimited text (CSV and similar formats), read batch by batch. Every column stays text."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from demure.data.id_codes import TableBuilder
from demure.errors import DataError
from demure.preparation.problems import Findings
from demure.preparation.reading.arrow_csv import read_batches
from demure.preparation.reading.columns import ColumnSelection
from demure.preparation.reading.compression import file_errors
from demure.preparation.reading.encoding import Utf8Stream, detect_encoding
from demure.preparation.reading.header import read_header
from demure.preparation.reading.quoting import QuotingDecision, report_rows
from demure.preparation.reading.raw_table import RawTable, RowNumbers, no_rows, separate_duplicates
from demure.preparation.reading.row_scan import Quoting, RowScan

_BLOCK = 1 << 24  # bytes; no row may be longer
_HEAD = 1 << 20  # bytes


def read_delimited(
    path: Path,
    findings: Findings,
    selection: ColumnSelection,
    *,
    delimiter: str | None = None,
    header: list[str] | None = None,
    quotes: bool = True,
) -> RawTable:
    """Read the selected columns of a delimited file as text.

    ``delimiter`` is found where None; ``header`` names the columns of a file without one; ``quotes`` is false in a
    format that has none. Raises ``DataError`` for duplicate columns and, with its number, for a row of another length
    and for a quotation mark that does not close.
    """
    encoding = detect_encoding(path, findings, selection.encoding)
    # Arrow knows delimiters of one character only: a longer one is replaced while the file is read.
    replacement = None
    if delimiter is not None and len(delimiter) > 1:
        replacement, delimiter = (delimiter, "\x1f"), "\x1f"

    def open_at(position: int) -> IO[bytes]:
        text = io.BufferedReader(Utf8Stream(path, encoding.name, replacement), 1 << 20)
        text.read(position)
        return text

    with file_errors(path), open_at(0) as text:
        first = read_header(text.read(_HEAD), delimiter, selection.last_place)
    if delimiter is None and first.delimiter != ("\t" if ".tsv" in path.name.lower() else ","):
        findings.note(f"{path.name}: columns are separated by {first.delimiter!r}")
    first_row = first.values(Quoting.DOUBLE if quotes else Quoting.NONE)
    has_header = header is None and selection.has_header(first_row, first.next_rows)

    def open_rows() -> IO[bytes]:
        return open_at(first.end if has_header else first.start)

    decision = QuotingDecision(path, open_rows, first, has_header, selection.skips_rows)
    with file_errors(path):
        quoting, scan = Quoting.NONE, None
        if quotes and selection.quotes != "auto":
            quoting = Quoting(selection.quotes)
            scan = decision.scan(quoting)
        elif quotes and encoding.has_quotes:
            quoting, scan = decision.decide(findings)
        elif selection.skips_rows:
            scan = decision.scan(quoting)
    if scan is not None and (scan.unclosed or (scan.other_length and not selection.skips_rows)):
        raise decision.error(scan)
    if scan is not None:
        report_rows(path, scan, findings)
    file_names = first.names(quoting) if has_header else first.values(quoting)
    file_names = _name_all(file_names) if has_header else header or [str(k + 1) for k in range(len(file_names))]
    names = file_names if header is not None else selection.rename(file_names, path, findings, first_row)
    file_names, names = separate_duplicates(file_names, names, path, findings, selection)
    kept = [k for k, name in enumerate(names) if selection.includes(name)] or [0]
    builder = TableBuilder([names[k] for k in kept], selection.is_encoded, selection.sink)
    try:
        with file_errors(path):
            for batch in _batches(
                path,
                open_rows,
                file_names,
                [file_names[k] for k in kept],
                first.delimiter,
                quoting,
                selection.skips_rows,
            ):
                builder.add(batch.columns, batch.num_rows)
    except pa.ArrowException as error:
        with file_errors(path):
            scan = scan or decision.scan(quoting)
        if not scan.is_whole:
            raise decision.error(scan) from error
        raise DataError(f"cannot be read ({error})", where=path, remedy="check the file's quotes and lines") from error
    if not builder.rows:
        raise no_rows(path)
    numbers = RowNumbers(2 if has_header else 1)
    if scan is not None:
        numbers = _number_rows(numbers.first, scan, builder.rows, path)
    return RawTable(path, builder.table(), numbers, names, delimited=True)


def _name_all(names: list[str]) -> list[str]:
    """Return the names of columns; a column without a name is "unnamed K", as its position is K."""
    return [name if name.strip() else f"unnamed {k}" for k, name in enumerate(names, start=1)]


def _number_rows(first: int, scan: RowScan, rows: int, path: Path) -> RowNumbers:
    """Return the numbers of the rows that were read. Raises ``DataError`` if they are not the rows of ``scan``."""
    skipped = np.array([row.number for row in scan.other_length], dtype=np.int64)
    if rows != scan.rows - len(skipped):
        problem = f"{rows} rows were read, but its {scan.lines} lines are {scan.rows - len(skipped)} rows"
        raise DataError(problem, where=path, remedy="state --quotes double, backslash or none")
    if not len(skipped):
        return RowNumbers(first)
    return RowNumbers(first, skipped=skipped)


def _batches(
    path: Path,
    open_rows: Callable[[], IO[bytes]],
    names: list[str],
    kept_names: list[str],
    delimiter: str,
    quoting: Quoting,
    skips_rows: bool,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the columns ``kept_names``; raise an Arrow exception for a row of another length."""
    with open_rows() as text:
        if not text.read(_HEAD).strip(b"\r\n"):
            raise no_rows(path)
    with open_rows() as text:
        yield from read_batches(
            text,
            pa.csv.ReadOptions(block_size=_BLOCK, column_names=names),
            pa.csv.ConvertOptions(
                include_columns=kept_names,
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=False,
            ),
            on_bad_row=_skip if skips_rows else None,
            delimiter=delimiter,
            newlines_in_values=quoting is not Quoting.NONE,
            quote_char=False if quoting is Quoting.NONE else '"',
            escape_char="\\" if quoting is Quoting.BACKSLASH else False,
        )


def _skip(row: Any) -> str:
    return "skip"
