"""Which items have any content: a text, a file, or a row of features that is neither zero nor damaged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from demure.errors import DataError
from demure.images.files import ImageFolder
from demure.preparation.items import Items

_ROWS = 1 << 14  # of a matrix, read at a time


def without_content(
    items: Items, images_root: Path | None, media_roots: Mapping[str, Path], features: dict[str, Path]
) -> np.ndarray:
    """Return (I,) bool: no text, no file and no features. Raises ``DataError`` for unreadable features."""
    roots = {"image": images_root, **media_roots}
    has_content = np.zeros(len(items.ids), bool)
    for name, values in items.columns.items():
        has_value = np.array([value is not None for value in values], bool)
        if name in roots:
            root = roots[name]
            folder = None if root is None else ImageFolder(root, name)
            files = [None if folder is None else folder.find(value) for value in values[has_value]]
            has_value[has_value] = [file is not None for file in files]
        has_content |= has_value
    for path in features.values():
        has_content |= _by_row(path, items) if path.suffix.lower() == ".npy" else _by_id(path, items)
    return ~has_content


def _is_usable(rows: np.ndarray) -> np.ndarray:
    usable: np.ndarray = np.isfinite(rows).all(axis=1) & (rows != 0).any(axis=1)
    return usable


def _by_row(path: Path, items: Items) -> np.ndarray:
    matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    blocks = range(0, len(matrix), _ROWS)
    usable: np.ndarray = np.concatenate([_is_usable(np.asarray(matrix[start : start + _ROWS])) for start in blocks])
    of_items: np.ndarray = usable[items.rows]
    return of_items


def _by_id(path: Path, items: Items) -> np.ndarray:
    try:
        table = pq.read_table(path, columns=["item_id", "vector"])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"cannot be read as features ({error})", where=path, remedy="give item_id, vector") from error
    pairs = zip(table["item_id"].to_pylist(), table["vector"].to_pylist(), strict=True)
    usable = {str(item_id) for item_id, vector in pairs if vector and _is_usable(np.array([vector], dtype=float)).all()}
    return np.array([item_id in usable for item_id in items.ids], bool)
