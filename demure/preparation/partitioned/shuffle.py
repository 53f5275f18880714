"""Bring the rows of each user together: every part sends its rows to the partitions of their users."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from demure.preparation.cleaning import BEFORE_SINCE, FROM_UNTIL, UNKNOWN_ITEM
from demure.preparation.interactions import CleaningRules
from demure.preparation.partitioned.batch_files import (
    FolderTask,
    batch_of,
    load_array,
    numbers,
    optional_numbers,
    read_batch,
    write_batches,
)
from demure.preparation.partitioned.ids import keys_of_part
from demure.preparation.partitioned.log import LogPart
from demure.preparation.partitioned.read import rows_file
from demure.preparation.problems import ROWS_KEPT
from demure.progress import Listener

ITEM_KEYS, ITEM_CODES = "item-keys.npy", "item-codes.npy"


def shuffled_file(folder: Path, part: int) -> Path:
    """Return the file of the rows of a part, a batch for each partition."""
    return folder / f"part-{part}.shuffled.arrow"


@dataclass(frozen=True)
class ShuffleReport:
    """A part whose rows were sent.

    Attributes:
        removed: step -> the rows that it removes: unknown items, and times.
        unknown: rows of unknown items: how many, and the first rows in the log and codes of their items.
    """

    removed: dict[str, int]
    unknown: tuple[int, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class ShuffleTask(FolderTask[LogPart, ShuffleReport]):
    """Sends rows with a user to the partitions that begin at the keys ``starts``.

    An item has its place in the order of appearance, by ITEM_KEYS; ITEM_CODES has its place among the items of the
    dataset, -1 for an unknown one.
    """

    folder: Path
    buckets: int
    starts: tuple[int, ...]
    kinds: tuple[str, ...]
    rules: CleaningRules
    knows_items: bool

    def work(self, part: LogPart, listener: Listener) -> ShuffleReport:
        rows = read_batch(rows_file(self.folder, part.number))
        user, code = numbers(rows, "user"), numbers(rows, "item")
        keys = keys_of_part(self.folder, "user_id", part.number, self.buckets)
        item_keys = keys_of_part(self.folder, "item_id", part.number, self.buckets)
        places = np.searchsorted(load_array(self.folder / ITEM_KEYS), item_keys)
        items = np.append(places, -1).astype(np.int32)[code]
        levels = numbers(rows, "level").copy()
        times = optional_numbers(rows, "time")
        removed: dict[str, int] = {}
        is_left = levels == len(self.kinds)

        def remove(kind: str, mask: np.ndarray) -> np.ndarray:
            mask = mask & is_left
            levels[mask] = self.kinds.index(kind)
            is_left[mask] = False
            removed[kind] = int(np.count_nonzero(mask))
            return np.flatnonzero(mask)

        unknown = np.empty(0, np.int64)
        if self.knows_items:
            is_unknown = load_array(self.folder / ITEM_CODES)[np.maximum(items, 0)] < 0
            unknown = remove(UNKNOWN_ITEM, is_unknown)
        if times is not None and self.rules.since is not None:
            remove(BEFORE_SINCE, times < self.rules.since)
        if times is not None and self.rules.until is not None:
            remove(FROM_UNTIL, times >= self.rules.until)
        columns = {
            "user": np.append(keys, -1)[user],
            "item": items,
            "row": np.arange(part.first, part.first + part.rows),
            "time": times,
            "rating": optional_numbers(rows, "rating"),
            "split": optional_numbers(rows, "split"),
            "level": levels,
        }
        write_batches(shuffled_file(self.folder, part.number), self._by_partition(columns))
        first = unknown[:ROWS_KEPT]
        return ShuffleReport(removed, (len(unknown), first + part.first, items[first]))

    def _by_partition(self, columns: dict[str, np.ndarray | None]) -> Iterator[pa.RecordBatch]:
        users = columns["user"]
        assert users is not None
        partition = np.where(users < 0, -1, np.searchsorted(np.array(self.starts), users, side="right") - 1)
        order = np.argsort(partition, kind="stable")
        borders = np.searchsorted(partition[order], np.arange(len(self.starts) + 1))
        for start, stop in itertools.pairwise(borders):
            chosen = order[start:stop]
            yield batch_of({name: None if values is None else values[chosen] for name, values in columns.items()})
