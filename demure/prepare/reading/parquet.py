"""Parquet: one file, or a folder of them with partitions, as one table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from demure.data.id_codes import Collector
from demure.errors import DataError
from demure.prepare.problems import Findings
from demure.prepare.reading.columns import Wanted
from demure.prepare.reading.compression import head, open_bytes, packing, reading
from demure.prepare.reading.tables import Raw, no_rows, refuse_twice

_MAGIC = b"PAR1"
_BATCH = 1 << 20
_SUFFIXES = (".parquet", ".pq")


def is_parquet(start: bytes) -> bool:
    return start.startswith(_MAGIC)


def parquet_files(folder: Path) -> list[Path]:
    """The Parquet files below a folder, in order of their names; hidden and underscored ones are none."""
    found = (path for path in folder.rglob("*") if path.name.lower().endswith(_SUFFIXES) and path.is_file())
    inside = (path for path in found if not any(p.startswith((".", "_")) for p in path.relative_to(folder).parts))
    return sorted(inside, key=lambda path: path.relative_to(folder).as_posix())


def read_parquet(path: Path, findings: Findings, wanted: Wanted) -> Raw:
    """Columns of a file or folder, of which folders named ``key=value`` are columns too.

    Raises ``DataError`` if a file is damaged or has other columns than the first, and if there are no rows.
    """
    parts = _parts(path)
    if path.is_dir():
        findings.note(f"{path.name}: {len(parts)} Parquet files, in the order of their names")
    first = parts[0]
    theirs = list(first.file.schema_arrow.names)
    theirs += [name for name in first.keys if name not in theirs]
    refuse_twice(theirs, path)
    names = wanted.named(theirs, path, findings)
    kept = [k for k, name in enumerate(names) if wanted.keep(name)] or [0]
    chosen = [theirs[k] for k in kept]
    collector = Collector([names[k] for k in kept], wanted.encoded)
    types: dict[str, pa.DataType] = {}
    for part in parts:
        for batch in part.batches(chosen):
            columns = [_as_first(part, name, column, types) for name, column in zip(chosen, batch, strict=True)]
            collector.add(columns, len(columns[0]))
    if not collector.rows:
        raise no_rows(path)
    return Raw(path, collector.table(), 1, names, files=[part.path for part in parts])


@dataclass(frozen=True)
class _Part:
    """One file, and the ``key=value`` of the folders it lies in."""

    path: Path
    file: pq.ParquetFile
    keys: dict[str, str]

    def batches(self, columns: list[str]) -> Iterator[list[pa.Array]]:
        own = [name for name in columns if name in self.file.schema_arrow.names]
        lacking = next((name for name in columns if name not in own and name not in self.keys), None)
        if lacking is not None:
            raise DataError(f"lacks column {lacking!r}, which the first file has", where=self.path, remedy="add it")
        try:
            for batch in self.file.iter_batches(_BATCH, columns=own, use_threads=True):
                yield [
                    batch.column(name) if name in own else pa.array([self.keys[name]] * batch.num_rows)
                    for name in columns
                ]
        except (pa.ArrowException, OSError) as error:
            raise _damaged(self.path, error) from error


def _parts(path: Path) -> list[_Part]:
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
    if not is_parquet(head(path)):
        raise DataError("is not a Parquet file", where=path, remedy="check --format")
    source: Any = path
    if packing(path):  # Parquet is read from its end, so a packed one must be in memory
        with reading(path), open_bytes(path) as handle:
            source = pa.BufferReader(handle.read())
    try:
        return _Part(path, pq.ParquetFile(source), keys)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, error) from error


def _as_first(part: _Part, name: str, column: pa.Array, types: dict[str, pa.DataType]) -> pa.Array:
    """The column in the type that it has in the first file."""
    kind = types.setdefault(name, column.type)
    if column.type == kind:
        return column
    try:
        return column.cast(kind)
    except pa.ArrowException as error:
        reason = f"column {name!r} is {column.type}, in the first file {kind}"
        raise DataError(reason, where=part.path, remedy="store it alike in all files") from error


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"cannot be read as Parquet ({error})", where=path, remedy="the file is damaged")
