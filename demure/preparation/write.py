"""The tables of a dataset folder, and the hashes of their content. The same input gives the same bytes.

The interactions and the users come in blocks, so that no more than a row group of them is in memory as text.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from demure.data.splits import SPLIT_NAMES
from demure.preparation.interactions import Interactions
from demure.preparation.items import Items

_ROWS = 1 << 20  # of a row group
Texts: TypeAlias = "Sequence[str | None] | np.ndarray | pa.Array"


def write_tables(folder: Path, interactions: Interactions, items: Items) -> None:
    """Write interactions.parquet and users.parquet.

    ``interactions`` by user, then time, with a split.
    """
    assert interactions.split is not None
    user_ids, item_ids = pa.array(interactions.user_ids, pa.string()), pa.array(items.ids, pa.string())
    split = interactions.split

    def blocks() -> Iterator[pa.Table]:
        for start in range(0, len(interactions), _ROWS):
            block = slice(start, start + _ROWS)
            yield interaction_table(
                user_ids.take(pa.array(interactions.users[block])),
                item_ids.take(pa.array(interactions.items[block])),
                None if interactions.times is None else interactions.times[block],
                None if interactions.ratings is None else interactions.ratings[block],
                split[block],
            )

    write_blocks(blocks(), folder / "interactions.parquet")
    write_blocks([user_table(user_ids)], folder / "users.parquet")


def interaction_table(
    users: pa.Array, items: pa.Array, times: np.ndarray | None, ratings: np.ndarray | None, split: np.ndarray
) -> pa.Table:
    """Return a block of interactions.parquet: ids (n,) as text, ``times``, ``ratings`` and ``split`` codes (n,)."""
    columns = {"user_id": users, "item_id": items}
    if times is not None:
        columns["timestamp"] = pa.array(times, pa.float64())
    if ratings is not None:
        columns["rating"] = pa.array(ratings, pa.float64(), from_pandas=True)
    columns["split"] = pa.array(SPLIT_NAMES, pa.string()).take(pa.array(split))
    return pa.table(columns)


def user_table(user_ids: pa.Array) -> pa.Table:
    """Return a block of users.parquet."""
    return pa.table({"user_id": user_ids})


def write_items(folder: Path, items: Items) -> None:
    """Write items.parquet."""
    texts = {
        name: pa.array(list(values), pa.string()) for name, values in {**items.columns, **items.attributes}.items()
    }
    write_blocks([pa.table({"item_id": pa.array(items.ids, pa.string()), **texts})], folder / "items.parquet")


def write_blocks(blocks: Iterable[pa.Table], path: Path) -> None:
    """Write the rows of ``blocks``, at least one, of any sizes, as row groups that do not depend on these sizes."""
    writer, waiting, n, is_empty = None, list[pa.Table](), 0, True
    for block in blocks:
        writer = writer or pq.ParquetWriter(path, block.schema, compression="zstd")
        waiting.append(block)
        n += block.num_rows
        while n >= _ROWS:
            rows = pa.concat_tables(waiting)
            writer.write_table(rows.slice(0, _ROWS).combine_chunks())
            waiting, n, is_empty = [rows.slice(_ROWS)], n - _ROWS, False
    assert writer is not None
    if n or is_empty:
        writer.write_table(pa.concat_tables(waiting).combine_chunks())
    writer.close()


@dataclass(frozen=True)
class OrderedColumns:
    """The columns of N interactions by user, then time, each in blocks, of which one is in memory at a time.

    Attributes:
        user_ids: the ids of the users as ``json_texts``, without the brackets; ``user_bytes`` their length together.
        users, items: codes; ``times``: seconds, and no blocks without times; ``split``: codes.
    """

    n: int
    user_ids: Iterable[bytes]
    user_bytes: int
    users: Iterable[np.ndarray]
    items: Iterable[np.ndarray]
    times: Iterable[np.ndarray] | None
    split: Iterable[np.ndarray]


def identity(columns: OrderedColumns, item_ids: Texts) -> dict[str, str]:
    """Return two of the three hashes that identify a dataset: of the interactions in order, and their split.

    They depend on the content only, not on how it was written.
    """
    interactions, split = _Digest(), _Digest()
    interactions.add(itertools.chain([b"["], columns.user_ids, [b"]"]), columns.user_bytes + 2)
    interactions.add_texts(item_ids)
    interactions.add_numbers(columns.users, "<i8", columns.n)
    interactions.add_numbers(columns.items, "<i8", columns.n)
    interactions.add_numbers(columns.times or [], "<f8", 0 if columns.times is None else columns.n)
    split.add_numbers(columns.split, "i1", columns.n)
    return {"interactions": interactions.hexdigest(), "split": split.hexdigest()}


def items_identity(items: Items) -> dict[str, str]:
    """Return the third of these hashes, of the items.

    Attributes of the items are left out: a model sees them through features, which have hashes of their own.
    """
    content = _Digest()
    content.add_texts(items.ids)
    for name, values in items.columns.items():
        content.add_texts(values, name)
    return {"items": content.hexdigest()}


def columns_in_memory(interactions: Interactions) -> OrderedColumns:
    """Return the columns of ``interactions`` as one block each."""
    assert interactions.split is not None
    user_ids = json_texts(interactions.user_ids)
    return OrderedColumns(
        n=len(interactions),
        user_ids=[user_ids],
        user_bytes=len(user_ids),
        users=[interactions.users],
        items=[interactions.items],
        times=None if interactions.times is None else [interactions.times],
        split=[interactions.split],
    )


def json_texts(values: Texts) -> bytes:
    """Return texts as JSON has them in a list, without its brackets; ``, `` stands between two."""
    texts = values.to_pylist() if isinstance(values, pa.Array) else list(values)
    return json.dumps(texts)[1:-1].encode()


class _Digest:
    """The hash of ``demure.files.sha256_bytes`` over parts that come in blocks."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.hexdigest = self._digest.hexdigest

    def add(self, blocks: Iterable[bytes], length: int) -> None:
        """Add a part of ``length`` bytes."""
        self._digest.update(length.to_bytes(8, "little"))
        for block in blocks:
            self._digest.update(block)

    def add_texts(self, values: Texts, *before: str) -> None:
        """Add a part that is a JSON list of ``before`` and ``values``."""

        def blocks() -> Iterator[bytes]:
            yield b"["
            is_first = True
            for texts in (before, *(values[start : start + _ROWS] for start in range(0, len(values), _ROWS))):
                if len(texts):
                    yield (b"" if is_first else b", ") + json_texts(texts)
                    is_first = False
            yield b"]"

        self.add(blocks(), sum(map(len, blocks())))  # twice, so that only a block is in memory

    def add_numbers(self, blocks: Iterable[np.ndarray], dtype: str, n: int) -> None:
        """Add a part of ``n`` numbers, as their bytes in a type."""
        pieces = (block[start : start + _ROWS] for block in blocks for start in range(0, len(block), _ROWS))
        self.add((np.ascontiguousarray(piece, dtype=dtype).tobytes() for piece in pieces), n * np.dtype(dtype).itemsize)
