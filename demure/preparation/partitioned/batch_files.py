"""Files of the work folder: record batches that are read one by one, and arrays that are mapped into memory.

A file is whole or absent, and the same part of the work writes the same file, so a worker that is lost costs its part
alone.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from demure.cluster.executor import Part, Result, Task

_MARK = "work"


class FolderTask(Task[Part, Result]):
    """Work in the work folder ``folder``, which all workers must see."""

    folder: Path

    def shared_files(self) -> Sequence[Path]:
        return (self.folder / _MARK,)


def mark_work_folder(folder: Path) -> None:
    """Write the file by which workers on other machines know the folder."""
    (folder / _MARK).write_text(f"{folder}\n{os.getpid()}\n")


def write_batches(path: Path, batches: Iterable[pa.RecordBatch]) -> None:
    """Write ``batches``, at least one, all of the same columns."""
    part = _part_of(path)
    writer = None
    with pa.OSFile(str(part), "wb") as handle:
        for batch in batches:
            writer = writer or pa.ipc.new_file(handle, batch.schema)
            writer.write_batch(batch)
        assert writer is not None
        writer.close()
    os.replace(part, path)


def write_columns(path: Path, columns: Mapping[str, np.ndarray | pa.Array | None]) -> None:
    """Write one batch of the ``columns`` that are there."""
    write_batches(path, [batch_of(columns)])


def read_batch(path: Path, number: int = 0) -> pa.RecordBatch:
    """Return one batch of a file, mapped into memory."""
    return pa.ipc.open_file(pa.memory_map(str(path))).get_batch(number)


def read_batches(path: Path) -> list[pa.RecordBatch]:
    """Return all batches of a file, mapped into memory."""
    reader = pa.ipc.open_file(pa.memory_map(str(path)))
    return [reader.get_batch(k) for k in range(reader.num_record_batches)]


def save_array(path: Path, values: np.ndarray) -> None:
    """Write an array."""
    part = _part_of(path)
    with open(part, "wb") as handle:
        np.save(handle, values)
    os.replace(part, path)


def load_array(path: Path) -> np.ndarray:
    """Return an array, mapped into memory."""
    values: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return values


def numbers(batch: pa.RecordBatch, name: str) -> np.ndarray:
    """Return a column without nulls as an array."""
    values: np.ndarray = batch.column(name).to_numpy(zero_copy_only=False)
    return values


def optional_numbers(batch: pa.RecordBatch, name: str) -> np.ndarray | None:
    """Return a column as an array, or None if there is no such column."""
    return numbers(batch, name) if name in batch.schema.names else None


def batch_of(columns: Mapping[str, np.ndarray | pa.Array | None]) -> pa.RecordBatch:
    """Return a batch of the ``columns`` that are there."""
    present = {name: values for name, values in columns.items() if values is not None}
    return pa.RecordBatch.from_pydict(
        {name: pa.array(v) if isinstance(v, np.ndarray) else v for name, v in present.items()}
    )


def concat_texts(arrays: Sequence[pa.Array]) -> pa.Array:
    """Return arrays of texts as one."""
    return pa.concat_arrays([pa.array([], pa.string()), *arrays])


def _part_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.{secrets.token_hex(4)}")
