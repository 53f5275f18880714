"""A log in parts: row groups of Parquet where they lie, and text that was copied into parts of the work folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from demure.errors import DataError
from demure.preparation.options import PrepareOptions
from demure.preparation.partitioned.batch_files import read_batches, write_batches
from demure.preparation.problems import Findings
from demure.preparation.reading.columns import ColumnSelection
from demure.preparation.reading.compression import compression_of, read_head
from demure.preparation.reading.formats import read_raw, recognise_format
from demure.preparation.reading.parquet import ParquetLog, is_parquet, open_parquet
from demure.preparation.reading.raw_table import RawTable, RowNumbers, no_rows

FORMATS = ("csv", "parquet", "jsonl", "amazon", "movielens", "hm", "yelp")
_WHERE = "--on ray"
_SELECTION = ColumnSelection()


@dataclass(frozen=True)
class LogPart:
    """Some consecutive rows of a log.

    ``number``: of the part; ``first``: its first row, from 0 in the log; ``file``: number of the Parquet file, and its
    ``row_groups``.
    """

    number: int
    first: int
    rows: int
    file: int = 0
    row_groups: tuple[int, ...] = ()


@dataclass(frozen=True)
class Log:
    """The rows of a log, as ``RawTable`` has them, in ``parts``.

    ``parquet``: the files, or None for text, of which part k is the file k.arrow in ``folder``.
    """

    path: Path
    column_names: list[str]
    row_numbers: RowNumbers
    delimited: bool
    files: list[Path]
    parts: list[LogPart]
    parquet: ParquetLog | None
    folder: Path

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(part.rows for part in self.parts)

    def type_of(self, column: str) -> pa.DataType:
        """Return the type of a column, by its name in the table."""
        if self.parquet is None:
            return pa.string()
        own = self.parquet.kept[self.parquet.names_in_table.index(column)]
        return self.parquet.files[0].types([own])[own]

    def read(self, part: LogPart, columns: Sequence[str]) -> RawTable:
        """Return some columns of a part; its rows have the numbers that they have in the file."""
        table = self._text(part, columns) if self.parquet is None else self._parquet(self.parquet, part, columns)
        numbers = self.row_numbers.from_row(part.first)
        return RawTable(self.path, table, numbers, self.column_names, self.delimited, self.files)

    def _text(self, part: LogPart, columns: Sequence[str]) -> pa.Table:
        batches = read_batches(self.folder / f"{part.number}.arrow")
        absent = pa.nulls(part.rows, pa.string())
        table = pa.Table.from_batches(batches)
        return pa.table({name: table[name] if name in table.column_names else absent for name in columns})

    def _parquet(self, log: ParquetLog, part: LogPart, columns: Sequence[str]) -> pa.Table:
        kept = [log.kept[log.names_in_table.index(name)] for name in columns]
        file = log.files[part.file]
        batches = list(replace(log, kept=kept).batches(file, part.row_groups))
        types = log.files[0].types(kept)
        table = {}
        for k, (name, own) in enumerate(zip(columns, kept, strict=True)):
            column = pa.chunked_array([batch[k] for batch in batches], types[own])
            # Of a dictionary, the order is that of the file, and ids are numbered in the order of appearance.
            is_decoded = pa.types.is_dictionary(column.type) and _SELECTION.is_encoded(name)
            table[name] = column.cast(column.type.value_type) if is_decoded else column
        return pa.table(table)


def check_format(options: PrepareOptions) -> None:
    """Raise ``DataError`` for interactions that are not read in parts, before anything is started."""
    path, format = options.interactions, options.format
    if format == "auto":
        format = recognise_format(path)
    if format not in FORMATS:
        remedy = f"leave --on out, or give {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        raise DataError(f"is {format}, which is not read in parts", where=path, remedy=remedy)
    if not path.is_dir() and is_parquet(read_head(path)) and compression_of(path):
        raise DataError("is a compressed file of Parquet", where=path, remedy="decompress it, or leave --on out")


def open_log(options: PrepareOptions, folder: Path, part_rows: int, findings: Findings) -> tuple[Log, str]:
    """Return the log, and its format. Text is copied into ``folder``, part by part, by this process.

    Raises ``DataError`` as ``read_raw``, and for formats and columns that are not read in parts.
    """
    check_format(options)
    path = options.interactions
    if path.is_dir() or is_parquet(read_head(path)):
        format = options.format
        if format == "auto":
            format = recognise_format(path)
            findings.note(f"{path.name}: recognised as {format}")
        log = open_parquet(path, findings, options.selection())
        _refuse_nested(path, log)
        parts = _row_groups(log, part_rows)
        if not parts:
            raise no_rows(path)
        files = [file.path for file in log.files]
        return Log(path, log.column_names, RowNumbers(), False, files, parts, log, folder), format
    copy = _Copy(folder, part_rows)
    selection = replace(options.selection(), sink=copy.add)
    raw, format = read_raw(path, options.format, findings, selection)
    copy.close()
    return Log(path, raw.column_names, raw.row_numbers, raw.delimited, raw.files, copy.parts, None, folder), format


def _refuse_nested(path: Path, log: ParquetLog) -> None:
    """Raise ``DataError`` for a column of lists or objects."""
    for name, kind in log.files[0].types(log.kept).items():
        if pa.types.is_nested(kind):
            raise lists_in_parts(path, name)


def lists_in_parts(path: Path, name: str) -> DataError:
    """Return the error for a column ``name`` that holds lists, which become several rows."""
    return DataError(
        f"column {name!r} holds lists or objects, which {_WHERE} does not make rows of",
        where=path,
        remedy="write one row per interaction, or leave --on out",
    )


def _row_groups(log: ParquetLog, part_rows: int) -> list[LogPart]:
    """Return parts of consecutive row groups of one file, of ``part_rows`` or, where a row group has more, of that."""
    parts: list[LogPart] = []
    first = 0
    for number, file in enumerate(log.files):
        sizes = file.row_group_sizes
        for groups in _runs(sizes, part_rows):
            rows = sum(sizes[k] for k in groups)
            if rows:
                parts.append(LogPart(len(parts), first, rows, number, tuple(groups)))
                first += rows
    return parts


def _runs(sizes: Sequence[int], most: int) -> Iterator[list[int]]:
    run: list[int] = []
    n = 0
    for k, size in enumerate(sizes):
        if run and n + size > most:
            yield run
            run, n = [], 0
        run.append(k)
        n += size
    if run:
        yield run


class _Copy:
    """Takes the rows of text, and writes them in parts."""

    def __init__(self, folder: Path, part_rows: int) -> None:
        self.parts: list[LogPart] = []
        self._folder, self._most = folder, part_rows
        self._waiting: list[pa.Table] = []
        self._rows = self._first = 0

    def add(self, table: pa.Table) -> None:
        """Add rows; the tables may have different columns."""
        start = 0
        while start < table.num_rows:
            piece = table.slice(start, self._most - self._rows)
            self._waiting.append(piece)
            self._rows += piece.num_rows
            start += piece.num_rows
            if self._rows == self._most:
                self.close()

    def close(self) -> None:
        """Write what is left."""
        if self._rows:
            part = LogPart(len(self.parts), self._first, self._rows)
            table = pa.concat_tables(self._waiting, promote_options="default")
            write_batches(self._folder / f"{part.number}.arrow", table.to_batches())
            self.parts.append(part)
            self._first += self._rows
            self._waiting, self._rows = [], 0
