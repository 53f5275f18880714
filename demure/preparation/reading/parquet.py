"""Parquet: one file, or a folder of them with partitions, as one table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from demure.data.id_codes import TableBuilder
from demure.errors import DataError
from demure.preparation.problems import Findings
from demure.preparation.reading.columns import ColumnSelection
from demure.preparation.reading.compression import compression_of, file_errors, open_decompressed, read_head
from demure.preparation.reading.raw_table import RawTable, RowNumbers, no_rows, separate_duplicates

_MAGIC = b"PAR1"
_BATCH = 1 << 20  # rows
_SUFFIXES = (".parquet", ".pq")


def is_parquet(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is Parquet."""
    return head.startswith(_MAGIC)


def parquet_files(folder: Path) -> list[Path]:
    """Return the Parquet files below a folder in order of their names, without hidden and underscored ones."""
    files = (path for path in folder.rglob("*") if path.name.lower().endswith(_SUFFIXES) and path.is_file())
    visible = (path for path in files if not any(p.startswith((".", "_")) for p in path.relative_to(folder).parts))
    return sorted(visible, key=lambda path: path.relative_to(folder).as_posix())


def read_parquet(path: Path, findings: Findings, selection: ColumnSelection) -> RawTable:
    """Read the selected columns of a file or folder; folders named ``key=value`` are columns too.

    Raises ``DataError`` if a file is damaged or has other columns than the first, and if there are no rows.
    """
    log = open_parquet(path, findings, selection)
    builder = TableBuilder(log.names_in_table, selection.is_encoded)
    for file in log.files:
        for columns in log.batches(file):
            builder.add(columns, len(columns[0]))
    if not builder.rows:
        raise no_rows(path)
    return RawTable(path, builder.table(), RowNumbers(), log.column_names, files=[file.path for file in log.files])


@dataclass(frozen=True)
class ParquetLog:
    """The Parquet files of one log.

    Attributes:
        column_names: the names of all columns, as of ``RawTable``.
        kept: the selected columns, by their names in the files, and ``names_in_table`` those in the table.
    """

    files: list[ParquetFile]
    column_names: list[str]
    kept: list[str]
    names_in_table: list[str]

    def batches(self, file: ParquetFile, row_groups: Sequence[int] | None = None) -> Iterator[list[pa.Array]]:
        """Yield the selected columns of a file, or of some ``row_groups``, in the types that the first file has.

        Raises ``DataError`` for a damaged file, and for other columns than those of the first file.
        """
        types = self.files[0].types(self.kept)
        for batch in file.batches(self.kept, row_groups):
            yield [_cast_as_first(file, name, column, types) for name, column in zip(self.kept, batch, strict=True)]


def open_parquet(path: Path, findings: Findings, selection: ColumnSelection) -> ParquetLog:
    """Open a file, or the files of a folder, and select the columns; as ``read_parquet``."""
    files = _open_files(path)
    if path.is_dir():
        findings.note(f"{path.name}: {len(files)} Parquet files, in the order of their names")
    first = files[0]
    file_names = list(first.schema.names)
    file_names += [name for name in first.keys if name not in file_names]
    names = selection.rename(file_names, path, findings)
    unique, names = separate_duplicates(file_names, names, path, findings, selection)
    usable = [k for k, name in enumerate(file_names) if name == unique[k]]
    if not usable:
        raise DataError(f"has two columns {file_names[0]!r}", where=path, remedy="rename or remove one")
    kept = [k for k in usable if selection.includes(names[k])] or usable[:1]
    return ParquetLog(files, names, [file_names[k] for k in kept], [names[k] for k in kept])


@dataclass(frozen=True)
class ParquetFile:
    """One file, and the ``key=value`` of the folders that it is in. A copy that travels opens the file anew."""

    path: Path
    keys: dict[str, str]

    @cached_property
    def _opened(self) -> pq.ParquetFile:
        if not is_parquet(read_head(self.path)):
            raise DataError("is not a Parquet file", where=self.path, remedy="check --format")
        source: Path | pa.BufferReader = self.path
        if compression_of(self.path):  # Parquet is read from its end, so a compressed file must be in memory
            with file_errors(self.path), open_decompressed(self.path) as handle:
                source = pa.BufferReader(handle.read())
        try:
            return pq.ParquetFile(source)
        except (pa.ArrowException, OSError) as error:
            raise _damaged(self.path, error) from error

    def __getstate__(self) -> dict[str, object]:
        return {"path": self.path, "keys": self.keys}

    @property
    def schema(self) -> pa.Schema:
        """The columns of the file itself."""
        return self._opened.schema_arrow

    @property
    def row_group_sizes(self) -> list[int]:
        """The numbers of rows of the row groups."""
        metadata = self._opened.metadata
        return [metadata.row_group(k).num_rows for k in range(metadata.num_row_groups)]

    def types(self, columns: Sequence[str]) -> dict[str, pa.DataType]:
        """Return the types of ``columns``; those of folders are texts."""
        return {name: self.schema.field(name).type if name in self.schema.names else pa.string() for name in columns}

    def batches(self, columns: Sequence[str], row_groups: Sequence[int] | None = None) -> Iterator[list[pa.Array]]:
        """Yield ``columns`` as they are in the file. Raises ``DataError`` for a missing one."""
        own = [name for name in columns if name in self.schema.names]
        missing = next((name for name in columns if name not in own and name not in self.keys), None)
        if missing is not None:
            raise DataError(f"lacks column {missing!r}, which the first file has", where=self.path, remedy="add it")
        try:
            for batch in self._opened.iter_batches(_BATCH, row_groups=row_groups, columns=own, use_threads=True):
                yield [
                    batch.column(name) if name in own else pa.array([self.keys[name]] * batch.num_rows)
                    for name in columns
                ]
        except (pa.ArrowException, OSError) as error:
            raise _damaged(self.path, error) from error


def _open_files(path: Path) -> list[ParquetFile]:
    """Return the files, each of which has been opened."""
    if not path.is_dir():
        files = [ParquetFile(path, {})]
    else:
        files = []
        for file in parquet_files(path):
            pairs = [part.partition("=") for part in file.relative_to(path).parts[:-1]]
            keys = {unquote(key): unquote(value) for key, equals, value in pairs if equals}
            files.append(ParquetFile(file, keys))
    if not files:
        raise DataError("is a folder, not a file, and has no Parquet files", where=path, remedy="name the file in it")
    for opened in files:
        opened.schema  # noqa: B018  # raises for a file that is damaged
    return files


def _cast_as_first(file: ParquetFile, name: str, column: pa.Array, types: dict[str, pa.DataType]) -> pa.Array:
    """Return the column in the type that it has in the first file."""
    if column.type == types[name]:
        return column
    try:
        return column.cast(types[name])
    except pa.ArrowException as error:
        problem = f"column {name!r} is {column.type}, in the first file {types[name]}"
        raise DataError(problem, where=file.path, remedy="store it alike in all files") from error


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"cannot be read as Parquet ({error})", where=path, remedy="the file is damaged")
