"""safetensors files whose largest tensor never is in memory as a whole: written in blocks of rows, and read in them.

The safetensors package itself writes only arrays that are in memory. The layout: https://huggingface.co/docs/safetensors
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


def write(
    file: Path,
    name: str,
    shape: tuple[int, int],
    dtype: np.dtype,
    blocks: Iterable[tuple[np.ndarray, np.ndarray]],
    others: Mapping[str, np.ndarray],
) -> None:
    """Write tensor ``name`` of ``shape`` from ``blocks`` of row numbers and rows (what none has: zero), and ``others``.

    Raises ``DemureError`` if it cannot be written.
    """
    wide = shape[1] * dtype.itemsize
    header, at = {name: _entry(dtype, shape, 0)}, shape[0] * wide
    for other, array in others.items():
        header[other] = _entry(array.dtype, array.shape, at)
        at += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    start = 8 + len(text)
    try:
        with open(file, "wb") as handle:
            handle.write(len(text).to_bytes(8, "little") + text)
            handle.truncate(start + at)
            for numbers, values in blocks:
                order = np.argsort(numbers, kind="stable")
                numbers, values = numbers[order], np.ascontiguousarray(values[order], dtype=dtype)
                borders = [0, *(np.flatnonzero(np.diff(numbers) != 1) + 1).tolist(), len(numbers)]
                for first, stop in itertools.pairwise(borders):
                    if stop > first:
                        handle.seek(start + int(numbers[first]) * wide)
                        handle.write(values[first:stop].data)
            handle.seek(start + shape[0] * wide)
            for array in others.values():
                handle.write(np.ascontiguousarray(array).data)
            handle.flush()
            os.fsync(handle.fileno())
    except OSError as error:
        raise cannot_write(file, error) from error


def _entry(dtype: np.dtype, shape: tuple[int, ...], at: int) -> dict[str, object]:
    return {
        "dtype": _NAMES[str(dtype)],
        "shape": list(shape),
        "data_offsets": [at, at + int(np.prod(shape)) * dtype.itemsize],
    }


class Rows:
    """One matrix of a safetensors file, read in slices without keeping it. Raises ``ValueError``, ``OSError`` or
    ``KeyError`` for what is not such a file."""

    def __init__(self, file: Path, name: str) -> None:
        self.file = file
        with open(file, "rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            header = json.loads(handle.read(min(length, 1 << 27)))
        entry = header[name]
        self.shape: tuple[int, int] = tuple(entry["shape"])
        self.dtype = _TYPES[entry["dtype"]]
        self.start = 8 + length + entry["data_offsets"][0]

    def read(self, first: int, stop: int) -> np.ndarray:
        """(stop - first, d), as stored."""
        wide = self.shape[1]
        at = self.start + first * wide * self.dtype.itemsize
        return np.fromfile(self.file, self.dtype, (stop - first) * wide, offset=at).reshape(stop - first, wide)
