"""Which items have any content: a text, an image file, or a row of features that is neither zeros nor broken."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from demure.data.images import is_file
from demure.errors import DataError
from demure.prepare.items import Items

_ROWS = 1 << 14


def without_modality(items: Items, images_root: Path | None, features: dict[str, Path]) -> np.ndarray:
    """(I,) bool: no text, no image that is there, no features. Raises ``DataError`` for unreadable features."""
    has = np.zeros(len(items.ids), bool)
    for name, values in items.columns.items():
        given = np.array([value is not None for value in values], bool)
        if name == "image":
            given[given] = [images_root is not None and is_file(images_root, value) for value in values[given]]
        has |= given
    for path in features.values():
        has |= _by_row(path, items) if path.suffix.lower() == ".npy" else _by_id(path, items)
    return ~has


def _sound(rows: np.ndarray) -> np.ndarray:
    return np.isfinite(rows).all(axis=1) & (rows != 0).any(axis=1)


def _by_row(path: Path, items: Items) -> np.ndarray:
    matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    sound = np.concatenate([_sound(np.asarray(matrix[at : at + _ROWS])) for at in range(0, len(matrix), _ROWS)])
    return sound[items.rows]


def _by_id(path: Path, items: Items) -> np.ndarray:
    try:
        table = pq.read_table(path, columns=["item_id", "vector"])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"cannot be read as features ({error})", where=path, remedy="give item_id, vector") from error
    pairs = zip(table["item_id"].to_pylist(), table["vector"].to_pylist(), strict=True)
    sound = {str(one) for one, vector in pairs if vector and _sound(np.array([vector], dtype=float)).all()}
    return np.array([one in sound for one in items.ids], bool)
