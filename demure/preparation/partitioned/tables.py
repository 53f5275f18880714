"""Write the tables of a dataset folder from the partitions, one after another."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from demure.preparation.partitioned.batch_files import (
    FolderTask,
    numbers,
    optional_numbers,
    read_batch,
    write_columns,
)
from demure.preparation.partitioned.split import FinalPartition, final_file, final_users_file, split_codes
from demure.preparation.write import (
    OrderedColumns,
    identity,
    interaction_table,
    json_texts,
    user_table,
    write_blocks,
)
from demure.progress import Listener

_ITEM_IDS = "final-items.arrow"


class TablesPart(NamedTuple):
    """A dataset folder to write, and the name of its split."""

    folder: Path
    split: str


def save_item_ids(folder: Path, item_ids: np.ndarray) -> None:
    """Write the ids of the items of the dataset (I,) for ``TablesTask``."""
    write_columns(folder / _ITEM_IDS, {"id": pa.array(item_ids, pa.string())})


@dataclass(frozen=True)
class TablesTask(FolderTask[TablesPart, dict[str, str]]):
    """Writes interactions.parquet and users.parquet of dataset folders, and returns the hashes of their content.

    ``partitions``: those with rows, at least one.
    """

    folder: Path
    partitions: tuple[FinalPartition, ...]

    def work(self, part: TablesPart, listener: Listener) -> dict[str, str]:
        self._write(self._interactions(part.split), part.folder / "interactions.parquet")
        self._write((user_table(self._user_ids(k)) for k in self._numbers), part.folder / "users.parquet")
        starts = np.cumsum([0, *(partition.users for partition in self.partitions)])
        separators = 2 * (len(self.partitions) - 1)
        timed = optional_numbers(self._rows(self._numbers[0]), "time") is not None
        columns = OrderedColumns(
            n=sum(partition.rows for partition in self.partitions),
            user_ids=self._json_ids(),
            user_bytes=sum(partition.user_bytes for partition in self.partitions) + separators,
            users=(numbers(self._rows(k), "user") + start for k, start in zip(self._numbers, starts, strict=False)),
            items=(numbers(self._rows(k), "item") for k in self._numbers),
            times=(numbers(self._rows(k), "time") for k in self._numbers) if timed else None,
            split=(split_codes(self.folder, k, part.split) for k in self._numbers),
        )
        return identity(columns, self._item_ids)

    def _write(self, blocks: Iterable[pa.Table], path: Path) -> None:
        """Write a file in the work folder, and move it to its place: a worker that was given up may still write."""
        part = self.folder / f"{path.parent.name}-{secrets.token_hex(4)}.{path.name}"
        write_blocks(blocks, part)
        os.replace(part, path)

    @property
    def _numbers(self) -> list[int]:
        return [partition.number for partition in self.partitions]

    @cached_property
    def _item_ids(self) -> pa.Array:
        return read_batch(self.folder / _ITEM_IDS).column("id")

    def _rows(self, partition: int) -> pa.RecordBatch:
        return read_batch(final_file(self.folder, partition))

    def _user_ids(self, partition: int) -> pa.Array:
        return read_batch(final_users_file(self.folder, partition)).column("id")

    def _json_ids(self) -> Iterator[bytes]:
        for k in self._numbers:
            yield (b", " if k != self._numbers[0] else b"") + json_texts(self._user_ids(k))

    def _interactions(self, split: str) -> Iterator[pa.Table]:
        for k in self._numbers:
            rows = self._rows(k)
            yield interaction_table(
                self._user_ids(k).take(rows.column("user")),
                self._item_ids.take(rows.column("item")),
                optional_numbers(rows, "time"),
                optional_numbers(rows, "rating"),
                split_codes(self.folder, k, split),
            )
