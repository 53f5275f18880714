"""Features that were made elsewhere: a ``.npy`` matrix by row of the items file, or Parquet by item id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from demure.errors import FeatureError
from demure.features import store
from demure.files import sha256_file


def import_features(
    dataset_path: Path, name: str, file: Path, rows: np.ndarray | None = None, total: int | None = None
) -> Path:
    """Store ``file`` as the dataset's modality ``name``; return its folder.

    ``rows`` (I,) is each item's row in a ``.npy`` matrix (-1: it has none; default: row k is item k) and ``total`` how
    many rows the matrix must have. A row of zeros, or with a NaN or an infinity, means that the item lacks the
    modality. Raises ``FeatureError`` for another shape or type, with the counts, and for ids that do not match.
    """
    store.check_name(name)
    file = Path(file)
    ids = store.item_ids(dataset_path)
    if not file.is_file():
        raise FeatureError("no such file", where=file, remedy=f"check --features {name}=FILE")
    suffix = file.suffix.lower()
    if suffix == ".npy":
        raw, facts = _from_npy(file, ids, rows, total)
    elif suffix in {".parquet", ".pq"}:
        raw, facts = _from_parquet(file, ids)
    else:
        raise FeatureError(f"{suffix!r} is no kind of feature file", where=file, remedy="give .npy or .parquet")
    with np.errstate(over="ignore", invalid="ignore"):
        vectors = raw.astype(np.float32)
    finite = np.isfinite(vectors).all(axis=1)
    infinite = ~finite & np.isinf(vectors).any(axis=1)
    present = np.logical_and(finite, vectors.any(axis=1))
    if not present.any():
        raise FeatureError(
            f"all {len(vectors)} rows are zero or not finite", where=file, remedy="leave out this modality"
        )
    vectors[~present] = 0
    provenance = {
        "encoder": "import",
        "file": file.name,
        "sha256": sha256_file(file),
        "source_dtype": str(raw.dtype),
        **facts,
        "rows_not_finite": int((~finite).sum()),
        "rows_infinite": int(infinite.sum()),
    }
    return store.save(dataset_path, store.Features(name, vectors, present, provenance))


def _from_npy(
    file: Path, ids: np.ndarray, rows: np.ndarray | None, total: int | None
) -> tuple[np.ndarray, dict[str, Any]]:
    try:
        matrix = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FeatureError(
            "cannot be read as a .npy matrix of numbers", where=file, remedy="save it with numpy.save, as floats"
        ) from error
    rows = np.arange(len(ids)) if rows is None else np.asarray(rows, dtype=np.int64)
    if rows.shape != ids.shape:
        raise FeatureError(f"{rows.size} row numbers for {len(ids)} items", where=file)
    needed = total if total is not None else int(rows.max(initial=-1)) + 1
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiu" or not matrix.shape[1]:
        raise FeatureError(
            f"{matrix.dtype} array of shape {matrix.shape} is not a matrix of numbers",
            where=file,
            remedy="give one row of floats per item",
        )
    if len(matrix) < needed or (total is not None and len(matrix) != total):
        raise FeatureError(
            f"{len(matrix)} rows for {needed} items",
            where=file,
            remedy="row k must be the k-th row of the items file (zeros or NaN for an item without it)",
        )
    taken = matrix[np.maximum(rows, 0)]
    if (rows < 0).any():
        taken = taken.astype(np.result_type(taken.dtype, np.float16))
        taken[rows < 0] = 0
    return taken, {"by": "row", "source_rows": len(matrix)}


def _from_parquet(file: Path, ids: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
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
    their_ids = [str(one) for one in table["item_id"].to_pylist()]
    row_of = {one: k for k, one in enumerate(their_ids)}
    if len(row_of) != len(their_ids):
        twice = next(one for k, one in enumerate(their_ids) if row_of[one] != k)
        raise FeatureError(f"item {twice!r} has two rows", where=file, remedy="give one row per item")
    vectors = table["vector"].to_pylist()
    lengths = {len(vector) for vector in vectors if vector is not None}
    if len(lengths) != 1 or 0 in lengths:
        raise FeatureError(
            f"vectors of {len(lengths)} different lengths" if lengths else "no vectors",
            where=file,
            remedy="give every item as many numbers as the others, or null",
        )
    out = np.zeros((len(ids), lengths.pop()), dtype=np.float32)
    found = [k for k, one in enumerate(ids) if one in row_of]
    if not found:
        raise FeatureError(
            f"none of its {len(their_ids)} item ids is one of the dataset's {len(ids)}",
            where=file,
            remedy="check the ids, as text, in column item_id",
        )
    for k in found:
        vector = vectors[row_of[ids[k]]]
        if vector is not None:
            out[k] = [np.nan if value is None else value for value in vector]
    facts = {"by": "item_id", "source_rows": len(their_ids), "rows_of_unknown_items": len(their_ids) - len(found)}
    return out, facts
