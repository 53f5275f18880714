"""Import features that other programs made: a ``.npy`` matrix by row of the items file, or Parquet by item id."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from demure.errors import FeatureError
from demure.features import store
from demure.files import sha256_file

ROWS = 50_000
"""Rows that are in memory at a time."""


def import_features(
    dataset_path: Path, name: str, file: Path, rows: np.ndarray | None = None, total: int | None = None
) -> Path:
    """Store ``file`` as the dataset's modality ``name``; return its folder.

    ``rows`` (I,) is each item's row in a ``.npy`` matrix (-1: it has none; default: row k is item k) and ``total`` is
    the number of rows that the matrix must have. A row of zeros, or with a NaN or an infinity, means that the item
    lacks the modality.

    Raises ``FeatureError`` for another shape or type, with the counts, and for ids that do not match.
    """
    store.check_name(name)
    file = Path(file)
    ids = store.item_ids(dataset_path)
    if not file.is_file():
        raise FeatureError("no such file", where=file, remedy=f"check --features {name}=FILE")
    suffix = file.suffix.lower()
    if suffix in {".npy", ".npz"}:
        matrix, rows, facts = _rows_by_number(file, ids, rows, total)
    elif suffix in {".parquet", ".pq"}:
        matrix, rows, facts = _rows_by_id(file, ids)
    else:
        raise FeatureError(f"{suffix!r} is not a feature file", where=file, remedy="give .npy or .parquet")
    facts = {"encoder": "import", "file": file.name, "sha256": sha256_file(file), **facts}
    return store_rows(dataset_path, name, ForeignRows(matrix, rows, file), facts)[0]


@dataclass(frozen=True)
class ForeignRows:
    """Vectors (n, D) of the file or folder ``source``, often a memory map, and each item's row (I,), -1 for none."""

    matrix: np.ndarray
    rows: np.ndarray
    source: Path

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield item numbers (n,), their vectors (n, D) float32, and whether each is present (n,).

        A row that is zero or not finite is not present, nor is an item without a row: their vectors are zero.
        """
        for start in range(0, len(self.rows), ROWS):
            rows = self.rows[start : start + ROWS]
            vectors, present = finite_rows(self.matrix[np.maximum(rows, 0)])
            present &= rows >= 0
            vectors[~present] = 0
            yield np.arange(start, start + len(rows)), vectors, present


def store_rows(
    dataset_path: Path, name: str, foreign: ForeignRows, provenance: dict[str, Any]
) -> tuple[Path, np.ndarray]:
    """Store the vectors as the modality ``name``, a block in memory at a time; return its folder, and which items (I,)
    have it. Raises ``FeatureError`` if none has.
    """
    present, half, counts = np.zeros(len(foreign.rows), bool), True, Counter[str]()
    for items, vectors, is_present in foreign.blocks():
        present[items] = is_present
        half = half and store.fits_float16(vectors)
        rows = foreign.rows[items][~is_present]
        left_out = foreign.matrix[rows[rows >= 0]]
        counts["not finite"] += int((~np.isfinite(left_out)).any(axis=1).sum())
        counts["infinite"] += int(np.isinf(left_out).any(axis=1).sum())
    refuse_empty(present, foreign.source)
    facts = {
        **provenance,
        "source_dtype": str(foreign.matrix.dtype),
        "rows_not_finite": counts["not finite"],
        "rows_infinite": counts["infinite"],
    }
    header = store.FeatureHeader(name, present, foreign.matrix.shape[1], half)
    blocks = ((items, vectors) for items, vectors, _ in foreign.blocks())
    return store.save_blocks(dataset_path, header, blocks, facts), present


def finite_rows(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows as float32 (n, D), and whether each is present (n,): finite, and not all zero.

    Rows that are not present become zero.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        vectors = raw.astype(np.float32)
    present = np.logical_and(np.isfinite(vectors).all(axis=1), vectors.any(axis=1))
    vectors[~present] = 0
    return vectors, present


def match_rows(ids: Iterable[str], file_ids: Sequence[str]) -> np.ndarray:
    """Return the place of each of the ``ids`` in ``file_ids`` (n,) int64, -1 where it is not there."""
    row = {item_id: k for k, item_id in enumerate(file_ids)}
    return np.array([row.get(item_id, -1) for item_id in ids], dtype=np.int64)


def refuse_empty(present: np.ndarray, file: Path) -> None:
    """Raise ``FeatureError`` if no row of the ``file`` is ``present``."""
    if not present.any():
        problem = f"all {len(present)} rows are zero or not finite"
        raise FeatureError(problem, where=file, remedy="leave out this modality")


def read_matrix(file: Path, *, any_shape: bool = False) -> np.ndarray:
    """Open a ``.npy`` matrix of numbers as a memory map, or read the only array of a ``.npz``.

    Raises ``FeatureError`` if the file is of another kind.
    """
    matrix = read_array(file, "a .npy matrix of numbers", "save it with numpy.save, as floats")
    if matrix.dtype.kind not in "fiu" or not (any_shape or (matrix.ndim == 2 and matrix.shape[1])):
        raise FeatureError(
            f"{matrix.dtype} array of shape {matrix.shape} is not a matrix of numbers",
            where=file,
            remedy="give one row of floats per item",
        )
    return matrix


def read_array(file: Path, kind: str, remedy: str) -> np.ndarray:
    """Open a ``.npy`` as a memory map, or read the only array of a ``.npz``; nothing is unpickled.

    ``kind`` and ``remedy`` are words for a message. Raises ``FeatureError`` if the file is of another kind: NumPy opens
    any zip, a model of PyTorch for one, and raises errors of many types for damaged files.
    """
    try:
        opened = np.load(file, mmap_mode="r", allow_pickle=False)
        if isinstance(opened, np.ndarray):
            return opened
        with opened:
            names = sorted(opened.files) if all(name.endswith(".npy") for name in opened.zip.namelist()) else []
            if len(names) == 1:
                array: np.ndarray = opened[names[0]]
                return array
    except MemoryError:
        raise
    except Exception as error:
        raise FeatureError(f"cannot be read as {kind}", where=file, remedy=remedy) from error
    problem = f"holds {len(names)} arrays ({', '.join(names[:5])})" if names else f"is not {kind}"
    raise FeatureError(problem, where=file, remedy=remedy)


def _rows_by_number(
    file: Path, ids: np.ndarray, rows: np.ndarray | None, total: int | None
) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    matrix = read_matrix(file)
    rows = np.arange(len(ids)) if rows is None else np.asarray(rows, dtype=np.int64)
    if rows.shape != ids.shape:
        raise FeatureError(f"{rows.size} row numbers for {len(ids)} items", where=file)
    needed = total if total is not None else int(rows.max(initial=-1)) + 1
    if len(matrix) < needed or (total is not None and len(matrix) != total):
        raise FeatureError(
            f"{len(matrix)} rows for {needed} items",
            where=file,
            remedy="row k must be the k-th row of the items file (zeros or NaN for an item without it)",
        )
    return matrix, rows, {"by": "row", "source_rows": len(matrix)}


def read_parquet(file: Path) -> tuple[list[str], np.ndarray]:
    """Read item ids (n) and vectors (n, D) float32, NaN where an item has none. Raises ``FeatureError``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise FeatureError("cannot be read as Parquet", where=file, remedy="the file is damaged") from error
    absent = [column for column in ("item_id", "vector") if column not in table.column_names]
    if absent:
        raise FeatureError(
            f"no column {absent[0]!r} (there are: {', '.join(table.column_names)})",
            where=file,
            remedy="give columns item_id and vector",
        )
    if table["item_id"].null_count:
        raise FeatureError("a row has no item_id", where=file, remedy="give one row per item")
    ids = [str(item_id) for item_id in table["item_id"].to_pylist()]
    if len(set(ids)) != len(ids):
        counts = Counter(ids)
        repeated = next(item_id for item_id in ids if counts[item_id] > 1)
        raise FeatureError(f"item {repeated!r} has two rows", where=file, remedy="give one row per item")
    column = table["vector"].combine_chunks()
    dtype = column.type
    if not (pa.types.is_list(dtype) or pa.types.is_large_list(dtype) or pa.types.is_fixed_size_list(dtype)):
        raise FeatureError(f"column 'vector' is of type {dtype}", where=file, remedy="give lists of floats")
    present = column.is_valid().to_numpy(zero_copy_only=False)
    lengths = set(np.unique(column.drop_null().value_lengths().to_numpy(zero_copy_only=False)).tolist())
    if len(lengths) != 1 or 0 in lengths:
        raise FeatureError(
            f"vectors of {len(lengths)} different lengths" if lengths else "no vectors",
            where=file,
            remedy="give every item as many numbers as the others, or null",
        )
    try:
        flat = column.drop_null().flatten().cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
    except pa.ArrowException as error:
        raise FeatureError(f"column 'vector' is of type {dtype}", where=file, remedy="give lists of floats") from error
    vectors = np.full((len(ids), lengths.pop()), np.nan, dtype=np.float32)
    vectors[present] = flat.reshape(-1, vectors.shape[1])
    return ids, vectors


def _rows_by_id(file: Path, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    file_ids, vectors = read_parquet(file)
    rows = match_rows(ids, file_ids)
    matched = int((rows >= 0).sum())
    if not matched:
        raise FeatureError(
            f"none of its {len(file_ids)} item ids is one of the dataset's {len(ids)}",
            where=file,
            remedy="check the ids, as text, in column item_id",
        )
    facts = {"by": "item_id", "source_rows": len(file_ids), "rows_of_unknown_items": len(file_ids) - matched}
    return vectors, rows, facts
