"""The files of a dataset folder. Nothing in them depends on the clock, so the same input makes the same bytes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from demure.data.splits import SPLIT_NAMES
from demure.prepare.interactions import Interactions
from demure.prepare.items import Items

_ROWS = 1 << 20  # of a row group: what is in memory as text at one time


def write_tables(folder: Path, them: Interactions, items: Items) -> None:
    """interactions.parquet, users.parquet and items.parquet; ``them`` by user, then time, with a split."""
    assert them.split is not None
    user_ids, item_ids = pa.array(them.user_ids, pa.string()), pa.array(items.ids, pa.string())
    names = pa.array(SPLIT_NAMES, pa.string())
    writer = None
    for at in range(0, len(them), _ROWS):
        block = slice(at, at + _ROWS)
        columns = {
            "user_id": user_ids.take(pa.array(them.users[block])),
            "item_id": item_ids.take(pa.array(them.items[block])),
        }
        if them.times is not None:
            columns["timestamp"] = pa.array(them.times[block], pa.float64())
        if them.ratings is not None:
            columns["rating"] = pa.array(them.ratings[block], pa.float64(), from_pandas=True)
        columns["split"] = names.take(pa.array(them.split[block]))
        table = pa.table(columns)
        writer = writer or pq.ParquetWriter(folder / "interactions.parquet", table.schema, compression="zstd")
        writer.write_table(table)
    assert writer is not None
    writer.close()
    _write(pa.table({"user_id": user_ids}), folder / "users.parquet")
    texts = {
        name: pa.array(list(values), pa.string()) for name, values in {**items.columns, **items.attributes}.items()
    }
    _write(pa.table({"item_id": item_ids, **texts}), folder / "items.parquet")


def identity(them: Interactions, items: Items) -> dict[str, str]:
    """Hashes of what the folder says, whatever wrote it: of the interactions in order, their split, and the items.

    The items' attributes are not among them: they count by the features that are made of them, which have hashes.
    """
    assert them.split is not None
    times = np.empty(0) if them.times is None else them.times
    columns = [_words([name, *values]) for name, values in items.columns.items()]
    users, ids = _words(them.user_ids), _words(items.ids)
    return {
        "interactions": _sha256(users, ids, (them.users, "<i8"), (them.items, "<i8"), (times, "<f8")),
        "split": _sha256((them.split, "i1")),
        "items": _sha256(ids, *columns),
    }


def _words(values: np.ndarray | list) -> bytes:
    return json.dumps(list(values)).encode()


def _sha256(*parts: bytes | tuple[np.ndarray, str]) -> str:
    """As ``demure.files.sha256_bytes``; of an array the bytes in that type, made piece by piece."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, bytes):
            digest.update(len(part).to_bytes(8, "little") + part)
            continue
        values, kind = part
        digest.update((len(values) * np.dtype(kind).itemsize).to_bytes(8, "little"))
        for at in range(0, len(values), _ROWS):
            digest.update(np.ascontiguousarray(values[at : at + _ROWS], dtype=kind))
    return digest.hexdigest()


def _write(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path, compression="zstd")
