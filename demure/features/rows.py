"""safetensors files whose largest tensor is never in memory as a whole: written and read in blocks of rows.

The safetensors package writes only arrays that are in memory. The layout of the file:
https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from demure.files import cannot_write

_NAMES = {"float16": "F16", "float32": "F32", "uint8": "U8"}
_TYPES = {code: np.dtype(name) for name, code in _NAMES.items()}
_LONGEST_HEADER = 1 << 27


def write_rows(
    file: Path,
    name: str,
    shape: tuple[int, int],
    dtype: np.dtype,
    blocks: Iterable[tuple[np.ndarray, np.ndarray]],
    others: Mapping[str, np.ndarray],
) -> None:
    """Write tensor ``name`` of ``shape`` from ``blocks``, and then the tensors ``others``.

    A block is a pair of row numbers (n,) and rows (n, D); a row in no block is zero.

    Raises ``DemureError`` if the file cannot be written.
    """
    row_bytes = shape[1] * dtype.itemsize
    header, end = {name: _entry(dtype, shape, 0)}, shape[0] * row_bytes
    for other, array in others.items():
        header[other] = _entry(array.dtype, array.shape, end)
        end += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    start = 8 + len(text)
    try:
        with open(file, "wb") as handle:
            handle.write(len(text).to_bytes(8, "little") + text)
            handle.truncate(start + end)
            for numbers, values in blocks:
                order = np.argsort(numbers, kind="stable")
                numbers, values = numbers[order], np.ascontiguousarray(values[order], dtype=dtype)
                # One write for each run of consecutive rows.
                borders = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), len(numbers)]
                for first, stop in itertools.pairwise(borders):
                    if stop > first:
                        handle.seek(start + int(numbers[first]) * row_bytes)
                        handle.write(values[first:stop].data)
            handle.seek(start + shape[0] * row_bytes)
            for array in others.values():
                handle.write(np.ascontiguousarray(array).data)
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        raise cannot_write(file, error) from error


def _entry(dtype: np.dtype, shape: tuple[int, ...], offset: int) -> dict[str, object]:
    return {
        "dtype": _NAMES[str(dtype)],
        "shape": list(shape),
        "data_offsets": [offset, offset + int(np.prod(shape)) * dtype.itemsize],
    }


class RowReader:
    """Reads slices of rows from one matrix of a safetensors file without keeping the matrix.

    Raises ``ValueError``, ``OSError`` or ``KeyError`` for a file of another kind.
    """

    def __init__(self, file: Path, name: str) -> None:
        self.file = file
        with open(file, "rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            header = json.loads(handle.read(min(length, _LONGEST_HEADER)))
        entry = header[name]
        self.shape: tuple[int, int] = tuple(entry["shape"])
        self.dtype = _TYPES[entry["dtype"]]
        self.start = 8 + length + entry["data_offsets"][0]

    def read(self, first: int, stop: int) -> np.ndarray:
        """Return rows ``first`` to ``stop``, (stop - first, D), in their stored type."""
        width = self.shape[1]
        offset = self.start + first * width * self.dtype.itemsize
        return np.fromfile(self.file, self.dtype, (stop - first) * width, offset=offset).reshape(stop - first, width)
