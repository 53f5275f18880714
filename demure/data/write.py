"""The files of a dataset folder. Nothing in them depends on the clock, so the same input makes the same bytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from demure.data.interactions import Interactions
from demure.data.items import Items
from demure.data.split import SPLIT_NAMES
from demure.files import sha256_bytes


def write_tables(folder: Path, them: Interactions, items: Items) -> None:
    """interactions.parquet, users.parquet and items.parquet; ``them`` by user, then time, with a split."""
    assert them.split is not None
    user_ids, item_ids = pa.array(them.user_ids, pa.string()), pa.array(items.ids, pa.string())
    columns = {"user_id": user_ids.take(pa.array(them.users)), "item_id": item_ids.take(pa.array(them.items))}
    if them.times is not None:
        columns["timestamp"] = pa.array(them.times, pa.float64())
    if them.ratings is not None:
        columns["rating"] = pa.array(them.ratings, pa.float64(), from_pandas=True)
    columns["split"] = pa.array(SPLIT_NAMES, pa.string()).take(pa.array(them.split))
    _write(pa.table(columns), folder / "interactions.parquet")
    _write(pa.table({"user_id": user_ids}), folder / "users.parquet")
    texts = {name: pa.array(list(values), pa.string()) for name, values in items.columns.items()}
    _write(pa.table({"item_id": item_ids, **texts}), folder / "items.parquet")


def identity(them: Interactions, items: Items) -> dict[str, str]:
    """Hashes of what the folder says, whatever wrote it: of the interactions in order, their split, and the items."""
    assert them.split is not None

    def words(values: np.ndarray) -> bytes:
        return json.dumps(list(values)).encode()

    times = b"" if them.times is None else them.times.astype("<f8").tobytes()
    pairs = [them.users.astype("<i8").tobytes(), them.items.astype("<i8").tobytes()]
    columns = [words(np.array([name, *values], dtype=object)) for name, values in items.columns.items()]
    return {
        "interactions": sha256_bytes(words(them.user_ids), words(items.ids), *pairs, times),
        "split": sha256_bytes(them.split.astype("i1").tobytes()),
        "items": sha256_bytes(words(items.ids), *columns),
    }


def _write(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd")
