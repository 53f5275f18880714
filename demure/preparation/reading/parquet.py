"""Parquet: one file, or a folder of them with partitions, as one table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
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
    parts = _open_parts(path)
    if path.is_dir():
        findings.note(f"{path.name}: {len(parts)} Parquet files, in the order of their names")
    first = parts[0]
    file_names = list(first.file.schema_arrow.names)
    file_names += [name for name in first.keys if name not in file_names]
    names = selection.rename(file_names, path, findings)
    unique, names = separate_duplicates(file_names, names, path, findings, selection)
    usable = [k for k, name in enumerate(file_names) if name == unique[k]]
    if not usable:
        raise DataError(f"has two columns {file_names[0]!r}", where=path, remedy="rename or remove one")
    kept = [k for k in usable if selection.includes(names[k])] or usable[:1]
    kept_names = [file_names[k] for k in kept]
    builder = TableBuilder([names[k] for k in kept], selection.is_encoded)
    types: dict[str, pa.DataType] = {}
    for part in parts:
        for batch in part.batches(kept_names):
            columns = [
                _cast_as_first(part, name, column, types) for name, column in zip(kept_names, batch, strict=True)
            ]
            builder.add(columns, len(columns[0]))
    if not builder.rows:
        raise no_rows(path)
    return RawTable(path, builder.table(), RowNumbers(), names, files=[part.path for part in parts])


@dataclass(frozen=True)
class _Part:
    """One file, and the ``key=value`` of the folders that it is in."""

    path: Path
    file: pq.ParquetFile
    keys: dict[str, str]

    def batches(self, columns: list[str]) -> Iterator[list[pa.Array]]:
        own = [name for name in columns if name in self.file.schema_arrow.names]
        missing = next((name for name in columns if name not in own and name not in self.keys), None)
        if missing is not None:
            raise DataError(f"lacks column {missing!r}, which the first file has", where=self.path, remedy="add it")
        try:
            for batch in self.file.iter_batches(_BATCH, columns=own, use_threads=True):
                yield [
                    batch.column(name) if name in own else pa.array([self.keys[name]] * batch.num_rows)
                    for name in columns
                ]
        except (pa.ArrowException, OSError) as error:
            raise _damaged(self.path, error) from error


def _open_parts(path: Path) -> list[_Part]:
    if not path.is_dir():
        return [_open(path, {})]
    files = parquet_files(path)
    if not files:
        raise DataError("is a folder, not a file, and has no Parquet files", where=path, remedy="name the file in it")
    parts = []
    for file in files:
        pairs = [part.partition("=") for part in file.relative_to(path).parts[:-1]]
        parts.append(_open(file, {unquote(key): unquote(value) for key, equals, value in pairs if equals}))
    return parts


def _open(path: Path, keys: dict[str, str]) -> _Part:
    if not is_parquet(read_head(path)):
        raise DataError("is not a Parquet file", where=path, remedy="check --format")
    source: Path | pa.BufferReader = path
    if compression_of(path):  # Parquet is read from its end, so a compressed file must be in memory
        with file_errors(path), open_decompressed(path) as handle:
            source = pa.BufferReader(handle.read())
    try:
        return _Part(path, pq.ParquetFile(source), keys)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def _cast_as_first(part: _Part, name: str, column: pa.Array, types: dict[str, pa.DataType]) -> pa.Array:
    """Return the column in the type that it has in the first file, which ``types`` remembers."""
    first_type = types.setdefault(name, column.type)
    if column.type == first_type:
        return column
    try:
        return column.cast(first_type)
    except pa.ArrowException as error:
        problem = f"column {name!r} is {column.type}, in the first file {first_type}"
        raise DataError(problem, where=part.path, remedy="store it alike in all files") from error


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"cannot be read as Parquet ({error})", where=path, remedy="the file is damaged")
