"""Delimited text (CSV and similar formats), read batch by batch. Every column stays text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.csv

from demure.data.id_codes import TableBuilder
from demure.errors import DataError
from demure.preparation.problems import Findings
from demure.preparation.reading.arrow_csv import read_batches
from demure.preparation.reading.columns import ColumnSelection, names_users_and_items
from demure.preparation.reading.compression import file_errors
from demure.preparation.reading.encoding import Utf8Stream, detect_encoding
from demure.preparation.reading.raw_table import RawTable, RowNumbers, no_rows, refuse_duplicate_columns

_BLOCK = 1 << 24  # bytes; no row may be longer
_DELIMITERS = ",\t;|"
_RARE_DELIMITERS = ("\x01", "^", "~", ":", " ")


def first_line(data: bytes) -> str:
    """Return the first line that is not blank, without byte order mark."""
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    lines = re.split(r"\r\n|\n|\r", data.decode(encoding, "replace").removeprefix("\ufeff"))
    return next((line for line in lines if line.strip()), "")


def sniff_delimiter(header: str) -> str:
    """Return the delimiter that is most frequent outside quotes; a comma where there is none.

    A rare delimiter counts only where it separates a column of users from one of items.
    """
    unquoted = "".join(header.split('"')[::2])
    most_frequent = max(_DELIMITERS, key=unquoted.count)
    if most_frequent in unquoted:
        return most_frequent
    return next((rare for rare in _RARE_DELIMITERS if names_users_and_items(unquoted.split(rare))), ",")


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

    ``delimiter`` is guessed where None; ``header`` names the columns of a file without one. Raises ``DataError`` for
    duplicate columns and, with its number, for a row of another length.
    """
    encoding = detect_encoding(path, findings, selection.encoding)
    # Arrow knows delimiters of one character only: a longer one is replaced while the file is read.
    replacement = None
    if delimiter is not None and len(delimiter) > 1:
        replacement, delimiter = (delimiter, "\x1f"), "\x1f"

    def open_text() -> IO[bytes]:
        return io.BufferedReader(Utf8Stream(path, encoding, replacement), 1 << 20)

    with file_errors(path), open_text() as text:
        first = first_line(text.read(1 << 20))
    if delimiter is None:
        delimiter = sniff_delimiter(first)
        if delimiter != ("\t" if ".tsv" in path.name.lower() else ","):
            findings.note(f"{path.name}: columns are separated by {delimiter!r}")
    file_names = next(csv.reader([first], delimiter=delimiter)) if quotes else first.split(delimiter)
    has_header = header is None and not selection.is_by_position(file_names)
    if not has_header:
        file_names = header or [str(k + 1) for k in range(len(file_names))]
    refuse_duplicate_columns(file_names, path)
    names = file_names if header is not None else selection.rename(file_names, path, findings)
    kept = [k for k, name in enumerate(names) if selection.includes(name)] or [0]
    builder = TableBuilder([names[k] for k in kept], selection.is_encoded)
    kept_names = [file_names[k] for k in kept]
    with file_errors(path):
        for batch in _batches(path, open_text, file_names, kept_names, delimiter, has_header=has_header, quotes=quotes):
            builder.add(batch.columns, batch.num_rows)
    if not builder.rows:
        raise no_rows(path)
    return RawTable(path, builder.table(), RowNumbers(2 if has_header else 1), names, delimited=True)


def _batches(
    path: Path,
    open_text: Callable[[], IO[bytes]],
    names: list[str],
    kept_names: list[str],
    delimiter: str,
    *,
    has_header: bool,
    quotes: bool,
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of the columns ``kept_names``; raise ``DataError`` with its number for a row of another length."""
    bad_rows: list[Any] = []

    def on_bad_row(row: Any) -> str:
        bad_rows.append(row)
        return "error"

    def parse(threads: bool) -> Iterator[pa.RecordBatch]:
        with open_text() as text:
            yield from read_batches(
                text,
                pa.csv.ReadOptions(use_threads=threads, block_size=_BLOCK, column_names=None if has_header else names),
                pa.csv.ConvertOptions(
                    include_columns=kept_names,
                    column_types=dict.fromkeys(names, pa.string()),
                    strings_can_be_null=False,
                ),
                on_bad_row=None if threads else on_bad_row,
                delimiter=delimiter,
                newlines_in_values=quotes,
                quote_char='"' if quotes else False,
            )

    try:
        yield from parse(True)
    except pa.ArrowException as error:
        try:  # again, slowly: only without threads does Arrow give the number of the row
            for _ in parse(False):
                pass
        except pa.ArrowException:
            if bad_rows:
                row = bad_rows[0]
                problem = (
                    f"has {row.actual_columns} columns, not {row.expected_columns} as the first: {row.text[:80]!r}"
                )
                raise DataError(problem, where=f"{path}:{row.number}", remedy="mend or remove that row") from error
        raise DataError(f"cannot be read ({error})", where=path, remedy="check the file's quotes and lines") from error
