"""Raw files as tables: delimited text, JSON Lines or Parquet, plain or packed, read batch by batch. Text stays text."""

from __future__ import annotations

import ast
import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.csv

from demure.data.id_codes import Collector
from demure.data.nested import flat
from demure.errors import DataError
from demure.prepare.problems import Findings
from demure.prepare.reading.columns import Wanted, names_both
from demure.prepare.reading.compression import BOM, Text, head, open_bytes, reading, text_encoding

_BLOCK = 1 << 24  # bytes; no row may be longer
_LINES = 1 << 17  # JSON objects in a batch
_DELIMITERS = ",\t;|"
_RARE = ("\x01", "^", "~", ":", " ")


@dataclass(frozen=True)
class Raw:
    """A file's rows. Row k of ``table`` is row ``first_row + k`` of the file; ``columns`` are all that the file has,
    of which ``table`` may hold but those that were wanted. ``files``: what was read, where it is not ``path`` alone.

    Rows are counted from 1; in delimited text the header is row 1, and lines without anything on them do not count.
    """

    path: Path
    table: pa.Table
    first_row: int
    columns: list[str]
    delimited: bool = False
    files: list[Path] = field(default_factory=list)


def first_line(data: bytes) -> str:
    """The first line with anything on it, without byte order mark."""
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    lines = re.split(r"\r\n|\n|\r", data.decode(encoding, "replace").removeprefix("\ufeff"))
    return next((line for line in lines if line.strip()), "")


def sniff(line: str) -> str:
    """The delimiter that the header has most of, outside quotes; a rare one only where it parts a user from an item;
    a comma where it has none."""
    bare = "".join(line.split('"')[::2])
    best = max(_DELIMITERS, key=bare.count)
    if best in bare:
        return best
    return next((rare for rare in _RARE if names_both(bare.split(rare))), ",")


def read_lines(path: Path, findings: Findings, wanted: Wanted) -> Raw:
    """JSON Lines: an object per line; every value as the text that is written there."""
    head(path)
    names: dict[str, str] = {}
    tables = []
    for batch in _objects(path, findings):
        keys = list(dict.fromkeys(key for record in batch for key in record))
        if not names:
            names = dict(zip(keys, wanted.named(keys, path, findings), strict=True))
        names |= {key: key for key in keys if key not in names}
        kept = [key for key in keys if wanted.keep(names[key])] or keys[:1]
        columns = {names[key]: pa.array([flat(key, record.get(key)) for record in batch], pa.string()) for key in kept}
        tables.append(pa.table(columns))
    if not tables:
        raise no_rows(path)
    table = pa.concat_tables(tables, promote_options="default")
    collector = Collector(table.column_names, wanted.encoded)
    for part in table.to_batches():
        collector.add(part.columns, part.num_rows)
    return Raw(path, collector.table(), 1, list(names.values()))


def read_delimited(
    path: Path,
    findings: Findings,
    wanted: Wanted,
    *,
    delimiter: str | None = None,
    header: list[str] | None = None,
    quotes: bool = True,
) -> Raw:
    """CSV and its like, every column as text. ``delimiter`` is sniffed where None; ``header`` names the columns of a
    file without one. Raises ``DataError`` for doubled columns and, with its number, for a row of another length."""
    encoding = text_encoding(path, findings, wanted.encoding)
    swap = None
    if delimiter is not None and len(delimiter) > 1:
        swap, delimiter = (delimiter, "\x1f"), "\x1f"

    def source() -> IO[bytes]:
        return io.BufferedReader(Text(path, encoding, swap), 1 << 20)

    with reading(path), source() as text:
        first = first_line(text.read(1 << 20))
    if delimiter is None:
        delimiter = sniff(first)
        if delimiter != ("\t" if ".tsv" in path.name.lower() else ","):
            findings.note(f"{path.name}: columns are separated by {delimiter!r}")
    theirs = next(csv.reader([first], delimiter=delimiter)) if quotes else first.split(delimiter)
    headless = header is not None or wanted.places(theirs)
    if headless:
        theirs = header or [str(k + 1) for k in range(len(theirs))]
    refuse_twice(theirs, path)
    names = theirs if header is not None else wanted.named(theirs, path, findings)
    kept = [k for k, name in enumerate(names) if wanted.keep(name)] or [0]
    collector = Collector([names[k] for k in kept], wanted.encoded)
    chosen = [theirs[k] for k in kept]
    with reading(path):
        for batch in _batches(path, source, theirs, chosen, delimiter, headless=headless, quotes=quotes):
            collector.add(batch.columns, batch.num_rows)
    if not collector.rows:
        raise no_rows(path)
    return Raw(path, collector.table(), 1 if headless else 2, names, delimited=True)


def _batches(
    path: Path,
    source: Callable[[], IO[bytes]],
    names: list[str],
    chosen: list[str],
    delimiter: str,
    *,
    headless: bool,
    quotes: bool,
) -> Iterator[pa.RecordBatch]:
    """The rows of the columns ``chosen``; raises ``DataError`` for a row of another length, with its number."""
    wrong: list[Any] = []

    def seen(row: Any) -> str:
        wrong.append(row)
        return "error"

    def parse(threads: bool) -> Iterator[pa.RecordBatch]:
        with source() as text:
            yield from pa.csv.open_csv(
                pa.PythonFile(text, mode="r"),
                read_options=pa.csv.ReadOptions(
                    use_threads=threads, block_size=_BLOCK, column_names=names if headless else None
                ),
                parse_options=pa.csv.ParseOptions(
                    delimiter=delimiter,
                    newlines_in_values=quotes,
                    quote_char='"' if quotes else False,
                    invalid_row_handler=None if threads else seen,
                ),
                convert_options=pa.csv.ConvertOptions(
                    include_columns=chosen, column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
                ),
            )

    try:
        yield from parse(True)
    except pa.ArrowException as error:
        try:  # again, slowly, for the number of the row
            for _ in parse(False):
                pass
        except pa.ArrowException:
            if wrong:
                row = wrong[0]
                reason = f"has {row.actual_columns} columns, not {row.expected_columns} as the first: {row.text[:80]!r}"
                raise DataError(reason, where=f"{path}:{row.number}", remedy="mend or remove that row") from error
        raise DataError(f"cannot be read ({error})", where=path, remedy="check the file's quotes and lines") from error


def _objects(path: Path, findings: Findings) -> Iterator[list[dict[str, Any]]]:
    """The objects of a JSON Lines file, some at a time."""
    batch: list[dict[str, Any]] = []
    with reading(path), open_bytes(path) as handle:
        for number, line in enumerate(handle, start=1):
            if number == 1:
                line = line.removeprefix(BOM)
            if not line.strip():
                continue
            batch.append(_object(line, f"{path}:{number}", path, findings))
            if len(batch) == _LINES:
                yield batch
                batch = []
    if batch:
        yield batch


def _object(line: bytes, where: str, path: Path, findings: Findings) -> dict[str, Any]:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        findings.note(f"{path.name}: lines that are not UTF-8 are read as Latin-1")
        text = line.decode("latin-1")
    try:
        record = json.loads(text, parse_int=str, parse_float=str, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        record = _python_dict(text)
        if record is None:
            reason = f"is not one JSON object ({error})"
            raise DataError(reason, where=where, remedy="write one object per line") from error
    if not isinstance(record, dict):
        kind = "an array" if isinstance(record, list) else "no object"
        raise DataError(f"holds {kind}", where=where, remedy="write one object per line")
    return record


def _python_dict(text: str) -> dict[str, Any] | None:
    """Amazon's metadata of 2014 are dicts as Python prints them."""
    try:
        found = ast.literal_eval(text.strip()) if text.lstrip().startswith("{'") else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _constant(name: str) -> str | None:
    return None if name == "NaN" else name


def no_rows(path: Path) -> DataError:
    return DataError("has no rows, only a header", where=path, remedy="give a file with rows")


def refuse_twice(names: list[str], path: Path) -> None:
    """Raise ``DataError`` if two columns have one name."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"has two columns {twice!r}", where=path, remedy="rename or remove one")
