"""One raw file as a table: delimited text, JSON Lines or Parquet, plain or gzipped. Text stays text."""

from __future__ import annotations

import csv
import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from demure.data.columns import LISTS, simple
from demure.data.problems import Findings
from demure.errors import DataError

_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_BOM = b"\xef\xbb\xbf"
_BLOCK = 1 << 24  # bytes; no row may be longer
_DELIMITERS = ",\t;|"


@dataclass(frozen=True)
class Raw:
    """A file's rows. Row k of ``table`` is row ``first_row + k`` of the file.

    Rows are counted from 1; in delimited text the header is row 1, and lines without anything on them do not count.
    """

    path: Path
    table: pa.Table
    first_row: int
    delimited: bool = False

    @property
    def columns(self) -> list[str]:
        return list(self.table.column_names)


def head(path: Path, size: int = 65536) -> bytes:
    """The file's first bytes, unzipped; raises ``DataError`` if it cannot be read or has none."""
    with _reading(path), _open(path) as handle:
        start = handle.read(size)
    if not start.removeprefix(_BOM).strip():
        raise DataError("is empty", where=path, remedy="give a file with rows")
    return start


def first_line(data: bytes) -> str:
    """The first line with anything on it, without byte order mark."""
    lines = re.split(r"\r\n|\n|\r", data.decode("utf-8", "replace").removeprefix("\ufeff"))
    return next((line for line in lines if line.strip()), "")


def is_parquet(start: bytes) -> bool:
    return start.startswith(_PARQUET)


def read_parquet(path: Path) -> Raw:
    """Raises ``DataError`` if the file is damaged, or has no rows."""
    start = head(path)
    if not is_parquet(start):
        raise DataError("is not a Parquet file", where=path, remedy="check --format")
    try:
        with _reading(path), _open(path) as handle:
            table = pq.read_table(pa.BufferReader(handle.read()))
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"cannot be read as Parquet ({error})", where=path, remedy="the file is damaged") from error
    return _with_rows(Raw(path, table, 1))


def read_lines(path: Path, findings: Findings, keep: Callable[[str], bool] = lambda _: True) -> Raw:
    """JSON Lines: an object per line, keys for which ``keep`` holds; every value as the text that is written there."""
    columns: dict[str, list[str | None]] = {}
    n = number = 0
    with _reading(path), _open(path) as handle:
        for line in _text_lines(handle, path, findings):
            number += 1
            if not line.strip():
                continue
            try:
                record = json.loads(line, parse_int=str, parse_float=str, parse_constant=_constant)
            except (ValueError, RecursionError) as error:
                reason = f"is not one JSON object ({error})"
                raise DataError(reason, where=f"{path}:{number}", remedy="write one object per line") from error
            if not isinstance(record, dict):
                kind = "an array" if isinstance(record, list) else "no object"
                raise DataError(f"holds {kind}", where=f"{path}:{number}", remedy="write one object per line")
            for key, value in record.items():
                if keep(key):
                    column = columns.setdefault(key, [])
                    column.extend([None] * (n - len(column)))
                    column.append(flat(key, value))
            n += 1
    arrays = {key: pa.array(_whole(column, n), pa.string()) for key, column in columns.items()}
    return _with_rows(Raw(path, pa.table(arrays), 1), n)


def read_delimited(
    path: Path,
    findings: Findings,
    *,
    delimiter: str | None = None,
    header: list[str] | None = None,
    quotes: bool = True,
) -> Raw:
    """CSV and its like, every column as text. ``delimiter`` is sniffed where None; ``header`` names the columns of a
    file without one. Raises ``DataError`` for doubled columns and, with its number, for a row of another length."""
    data = _text(path, findings)
    if delimiter is not None and len(delimiter) > 1:
        data, delimiter = data.replace(delimiter.encode(), b"\x1f"), "\x1f"
    first = first_line(data[:1_000_000])
    if delimiter is None:
        delimiter = sniff(first)
        if delimiter != ("\t" if ".tsv" in path.name.lower() else ","):
            findings.note(f"{path.name}: columns are separated by {delimiter!r}")
    names = header or (next(csv.reader([first], delimiter=delimiter)) if quotes else first.split(delimiter))
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"has two columns {twice!r}", where=path, remedy="rename or remove one")
    table = _parse(path, data, names, delimiter, headless=header is not None, quotes=quotes)
    return _with_rows(Raw(path, table, 1 if header else 2, delimited=True))


def sniff(line: str) -> str:
    """The delimiter that the header has most of, outside quotes; a comma where it has none."""
    bare = "".join(line.split('"')[::2])
    return max(_DELIMITERS, key=bare.count)


def _parse(path: Path, data: bytes, names: list[str], delimiter: str, *, headless: bool, quotes: bool) -> pa.Table:
    wrong: list[Any] = []

    def seen(row: Any) -> str:
        wrong.append(row)
        return "error"

    def parse(threads: bool) -> pa.Table:
        return pa.csv.read_csv(
            pa.BufferReader(data),
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
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )

    try:
        return parse(True)
    except pa.ArrowException as error:
        try:  # again, slowly, for the number of the row
            return parse(False)
        except pa.ArrowException:
            if wrong:
                row = wrong[0]
                reason = f"has {row.actual_columns} columns, not {row.expected_columns} as the first: {row.text[:80]!r}"
                raise DataError(reason, where=f"{path}:{row.number}", remedy="mend or remove that row") from error
        raise DataError(f"cannot be read ({error})", where=path, remedy="check the file's quotes and lines") from error


def _text(path: Path, findings: Findings) -> bytes:
    """The file as UTF-8 without byte order mark; raises ``DataError`` if it is no text."""
    head(path)
    with _reading(path), _open(path) as handle:
        data = handle.read()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise DataError("is UTF-16", where=path, remedy="save it as UTF-8")
    if b"\0" in data[:65536] or is_parquet(data):
        raise DataError("is not a text file", where=path, remedy="give CSV, TSV, JSON Lines or Parquet, or --format")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        findings.note(f"{path.name}: is not UTF-8 and is read as Latin-1")
        data = data.decode("latin-1").encode("utf-8")
    return data.removeprefix(_BOM)


def _text_lines(handle: IO[bytes], path: Path, findings: Findings) -> Iterator[str]:
    for number, raw in enumerate(handle):
        line = raw.removeprefix(_BOM) if not number else raw
        try:
            yield line.decode("utf-8")
        except UnicodeDecodeError:
            findings.note(f"{path.name}: lines that are not UTF-8 are read as Latin-1")
            yield line.decode("latin-1")


class _reading:
    """Turn what goes wrong with a file into one line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        if self.path.is_dir():
            raise DataError("is a folder, not a file", where=self.path, remedy="name the file in it")
        if not self.path.exists():
            raise DataError("no such file", where=self.path, remedy="check the path")

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, EOFError | gzip.BadGzipFile | zlib.error):
            remedy = "it is cut off or damaged: copy or download it again"
            raise DataError(f"cannot be unzipped ({error})", where=self.path, remedy=remedy) from error
        if isinstance(error, OSError):
            reason = f"cannot be read ({error.strerror or error})"
            raise DataError(reason, where=self.path, remedy="check its permissions") from error


def _open(path: Path) -> IO[bytes]:
    with open(path, "rb") as handle:
        zipped = handle.read(2) == _GZIP
    return gzip.open(path, "rb") if zipped else open(path, "rb")  # type: ignore[return-value]


def _with_rows(raw: Raw, rows: int | None = None) -> Raw:
    if not (raw.table.num_rows if rows is None else rows):
        raise DataError("has no rows, only a header", where=raw.path, remedy="give a file with rows")
    twice = next((name for name in raw.columns if raw.columns.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"has two columns {twice!r}", where=raw.path, remedy="rename or remove one")
    return raw


def _constant(name: str) -> str | None:
    return None if name == "NaN" else name


def _whole(column: list[str | None], n: int) -> list[str | None]:
    column.extend([None] * (n - len(column)))
    return [value if value is None or _sound(value) else value.encode("utf-8", "replace").decode() for value in column]


def _sound(value: str) -> bool:
    # JSON can spell half a surrogate pair, which no UTF-8 file can hold.
    return value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value)


def flat(key: str, value: Any) -> str | None:
    """Any JSON value as text; of images the first; of lists see ``flatten``."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if simple(key).startswith(("image", "imurl")):
        return first_image(value)
    return flatten(key, value)


def flatten(key: str, value: Any) -> str:
    """A list as one text: genres and categories joined by ``|``, everything else by a space."""
    return ("|" if simple(key) in LISTS else " ").join(_leaves(value))


def first_image(value: Any) -> str | None:
    """The first of a list of images: paths, URLs, or Amazon's dicts of sizes."""
    if isinstance(value, dict):
        for size in ("hi_res", "large", "thumb"):
            if found := first_image(value.get(size)):
                return found
        return None
    if isinstance(value, list | tuple):
        return next((found for found in map(first_image, value) if found), None)
    return value if isinstance(value, str) and value else None


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from _leaves(one)
    elif value is not None and str(value).strip():
        yield str(value)
