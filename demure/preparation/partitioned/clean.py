"""Clean the rows of each partition of users: what needs all rows of a user, and nothing of other users.

Shape suffixes: N rows of a partition, U its users, I items of the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from demure.preparation.cleaning import duplicate_kind, low_rating_kind
from demure.preparation.duplicates import keep_one_of_duplicates
from demure.preparation.filters import order_by_user_and_time
from demure.preparation.interactions import CleaningRules, Interactions
from demure.preparation.partitioned.batch_files import (
    FolderTask,
    load_array,
    numbers,
    optional_numbers,
    read_batch,
    write_columns,
)
from demure.preparation.partitioned.ids import users_file
from demure.preparation.partitioned.shuffle import ITEM_CODES, shuffled_file
from demure.preparation.problems import ROWS_KEPT
from demure.progress import Listener

_OPTIONAL = ("time", "rating", "split")


def cleaned_file(folder: Path, partition: int) -> Path:
    """Return the file of the rows of a partition that cleaning has left, by user, then time."""
    return folder / f"cleaned-{partition}.arrow"


class DuplicateRow(NamedTuple):
    """A row of the log that repeats a user and an item; ``item``: place in the order of appearance."""

    row: int
    user_id: str
    item: int


class ItemNumbers(NamedTuple):
    """A number for each of some ``items``."""

    items: np.ndarray
    numbers: np.ndarray


@dataclass(frozen=True)
class CleanReport:
    """A partition that was cleaned.

    Attributes:
        removed: step -> the rows that it removes, of the steps in partitions.
        duplicates: the first rows of the log that are dropped as duplicates.
        users: (len(kinds) + 1,) the users by the last step that removes one of their rows; the last are left.
        users_with_items: users with a row that has an item.
        items: the last step that removes a row of each item, by its place in the order of appearance.
        counts: the rows that are left of each item, by its place among the items of the dataset.
    """

    removed: dict[str, int]
    duplicates: list[DuplicateRow]
    users: np.ndarray
    users_with_items: int
    items: ItemNumbers
    counts: ItemNumbers


@dataclass(frozen=True)
class CleanTask(FolderTask[int, CleanReport]):
    """Drops duplicates and low ratings in partitions, and puts their rows in order. ``parts``: their number."""

    folder: Path
    parts: int
    kinds: tuple[str, ...]
    rules: CleaningRules

    def work(self, part: int, listener: Listener) -> CleanReport:
        batches = [read_batch(shuffled_file(self.folder, k), part) for k in range(self.parts)]

        def column(name: str) -> np.ndarray | None:
            columns = [optional_numbers(batch, name) for batch in batches]
            return None if columns[0] is None else np.concatenate([values for values in columns if values is not None])

        users_file_batch = read_batch(users_file(self.folder, part))
        keys, items, levels = column("user"), column("item"), column("level")
        times, ratings = column("time"), column("rating")
        assert keys is not None
        assert items is not None
        assert levels is not None
        users = np.searchsorted(numbers(users_file_batch, "key"), keys).astype(np.int32)
        del keys
        left = len(self.kinds)
        kept = levels == left
        removed = {}
        kind = duplicate_kind(self.rules.duplicates, timed=times is not None)
        distinct = keep_one_of_duplicates(users, items, kept, self.rules.duplicates, times, ratings)
        dropped = np.flatnonzero(kept & ~distinct)
        levels[dropped] = self.kinds.index(kind)
        removed[kind], kept = len(dropped), distinct
        rows = column("row")
        assert rows is not None
        ids = users_file_batch.column("id")
        first = dropped[:ROWS_KEPT]
        duplicates = [DuplicateRow(int(rows[k]), ids[int(users[k])].as_py(), int(items[k])) for k in first]
        del rows
        if self.rules.min_rating is not None:
            assert ratings is not None
            kind = low_rating_kind(self.rules.min_rating)
            low = kept & ~(ratings >= self.rules.min_rating)
            levels[low] = self.kinds.index(kind)
            removed[kind] = int(np.count_nonzero(low))
            kept &= ~low
        n_users = len(ids)
        has_item = items >= 0
        report_users = np.bincount(_last_of_each(users, levels, n_users), minlength=left + 1)
        with_items = int(np.count_nonzero(np.bincount(users[has_item], minlength=n_users)))
        occurring, places = np.unique(items[has_item], return_inverse=True)
        of_items = ItemNumbers(occurring, _last_of_each(places, levels[has_item], len(occurring)))
        counts = self._write(part, users, items, times, ratings, column("split"), kept)
        return CleanReport(removed, duplicates, report_users, with_items, of_items, counts)

    def _write(
        self,
        part: int,
        users: np.ndarray,
        items: np.ndarray,
        times: np.ndarray | None,
        ratings: np.ndarray | None,
        split: np.ndarray | None,
        kept: np.ndarray,
    ) -> ItemNumbers:
        chosen = np.flatnonzero(kept)
        chosen = chosen[order_by_user_and_time(users[chosen], None if times is None else times[chosen])]
        codes = load_array(self.folder / ITEM_CODES)[items[chosen]]
        columns = {"user": users[chosen], "item": codes}
        optional = dict(zip(_OPTIONAL, (times, ratings, split), strict=True))
        columns |= {name: values[chosen] for name, values in optional.items() if values is not None}
        write_columns(cleaned_file(self.folder, part), columns)
        return count_items(codes)


def count_items(items: np.ndarray) -> ItemNumbers:
    """Return how often each of ``items`` (N,) occurs."""
    return ItemNumbers(*np.unique(items, return_counts=True))


def _last_of_each(codes: np.ndarray, levels: np.ndarray, n: int) -> np.ndarray:
    """Return the highest of the ``levels`` (N,) of each code (n,), -1 for a code that does not occur."""
    highest = np.full(n, -1, np.int64)
    order = np.argsort(levels, kind="stable")
    highest[codes[order]] = levels[order]
    return highest


def cleaned_interactions(folder: Path, partition: int) -> Interactions:
    """Return the rows of a partition that cleaning has left."""
    return read_interactions(cleaned_file(folder, partition))


def read_interactions(file: Path) -> Interactions:
    """Return the rows of a partition, without ids; ``users`` count from 0 in the partition."""
    batch = read_batch(file)
    return Interactions(
        user_ids=np.empty(0, object),
        item_ids=np.empty(0, object),
        users=numbers(batch, "user"),
        items=numbers(batch, "item"),
        times=optional_numbers(batch, "time"),
        ratings=optional_numbers(batch, "rating"),
        split=optional_numbers(batch, "split"),
    )
