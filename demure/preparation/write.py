"""The tables of a dataset folder, and the hashes of their content. The same input gives the same bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from demure.data.splits import SPLIT_NAMES
from demure.preparation.interactions import Interactions
from demure.preparation.items import Items

_ROWS = 1 << 20  # of a row group, the part of the ids that is in memory as text at one time


def write_tables(folder: Path, interactions: Interactions, items: Items) -> None:
    """Write interactions.parquet, users.parquet and items.parquet.

    ``interactions`` by user, then time, with a split.
    """
    assert interactions.split is not None
    user_ids, item_ids = pa.array(interactions.user_ids, pa.string()), pa.array(items.ids, pa.string())
    names = pa.array(SPLIT_NAMES, pa.string())
    writer = None
    for start in range(0, len(interactions), _ROWS):
        block = slice(start, start + _ROWS)
        columns = {
            "user_id": user_ids.take(pa.array(interactions.users[block])),
            "item_id": item_ids.take(pa.array(interactions.items[block])),
        }
        if interactions.times is not None:
            columns["timestamp"] = pa.array(interactions.times[block], pa.float64())
        if interactions.ratings is not None:
            columns["rating"] = pa.array(interactions.ratings[block], pa.float64(), from_pandas=True)
        columns["split"] = names.take(pa.array(interactions.split[block]))
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(folder / "interactions.parquet", table.schema, compression="zstd")
        writer.write_table(table)
    assert writer is not None
    writer.close()
    _write_table(pa.table({"user_id": user_ids}), folder / "users.parquet")
    texts = {
        name: pa.array(list(values), pa.string()) for name, values in {**items.columns, **items.attributes}.items()
    }
    _write_table(pa.table({"item_id": item_ids, **texts}), folder / "items.parquet")


def identity(interactions: Interactions, items: Items) -> dict[str, str]:
    """Return the hashes that identify a dataset: of the interactions in order, their split, and the items.

    They depend on the content only, not on how it was written. Attributes of the items are left out: a model sees them
    through features, which have hashes of their own.
    """
    assert interactions.split is not None
    times = np.empty(0) if interactions.times is None else interactions.times
    columns = [_encode([name, *values]) for name, values in items.columns.items()]
    users, ids = _encode(interactions.user_ids), _encode(items.ids)
    return {
        "interactions": _sha256(users, ids, (interactions.users, "<i8"), (interactions.items, "<i8"), (times, "<f8")),
        "split": _sha256((interactions.split, "i1")),
        "items": _sha256(ids, *columns),
    }


def _encode(values: Iterable[str | None]) -> bytes:
    return json.dumps(list(values)).encode()


def _sha256(*parts: bytes | tuple[np.ndarray, str]) -> str:
    """Return the hash of ``demure.files.sha256_bytes``; an array counts as its bytes in a type, made in pieces."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, bytes):
            digest.update(len(part).to_bytes(8, "little") + part)
            continue
        values, dtype = part
        digest.update((len(values) * np.dtype(dtype).itemsize).to_bytes(8, "little"))
        for start in range(0, len(values), _ROWS):
            digest.update(np.ascontiguousarray(values[start : start + _ROWS], dtype=dtype).data)
    return digest.hexdigest()


def _write_table(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd")
