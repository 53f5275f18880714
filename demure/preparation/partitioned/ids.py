"""Keys for ids: of all parts, the first row of the log that has the id. No machine holds all ids of users.

Each bucket has some of the ids, of all parts. Keys are in the order of appearance, so that users in the order of their
keys are in the order that ``prepare`` gives them; ``demure.preparation.partitioned.read`` has the buckets of a part.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from demure.preparation.odd_ids import OddIds
from demure.preparation.partitioned.batch_files import (
    FolderTask,
    batch_of,
    concat_texts,
    numbers,
    read_batch,
    read_batches,
    write_batches,
    write_columns,
)
from demure.preparation.partitioned.read import ids_file
from demure.progress import Listener


def dictionary_file(folder: Path, role: str, bucket: int) -> Path:
    """Return the file of the ids of a bucket, in the order of their keys."""
    return folder / f"bucket-{bucket}.{role}.arrow"


def keys_file(folder: Path, role: str, bucket: int) -> Path:
    """Return the file of the keys of a bucket: a batch for each part, in the order of the part's ids there."""
    return folder / f"bucket-{bucket}.{role}-keys.arrow"


_POINTS = 4096  # of a bucket, by which the partitions get about equal numbers of rows


class Bucket(NamedTuple):
    """A bucket to work on."""

    role: str
    number: int


@dataclass(frozen=True)
class BucketReport:
    """The ``n`` ids of a bucket, and what is ``odd`` in them.

    ``points`` (n, 2) int64: keys, ascending, each with the rows of the ids around it.
    """

    n: int
    points: np.ndarray
    odd: OddIds


@dataclass(frozen=True)
class BucketTask(FolderTask[Bucket, BucketReport]):
    """Gives the ids of buckets their keys. ``parts``: the number of parts."""

    folder: Path
    parts: int

    def work(self, part: Bucket, listener: Listener) -> BucketReport:
        role, number = part
        batches = [read_batch(ids_file(self.folder, role, k), number) for k in range(self.parts)]
        encoded = concat_texts([batch.column("id") for batch in batches]).dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        first = np.concatenate([numbers(batch, "first") for batch in batches])
        n_rows = np.concatenate([numbers(batch, "rows") for batch in batches])
        keys = np.empty(len(encoded.dictionary), np.int64)
        keys[codes[::-1]] = first[::-1]  # the first of an id is in its first part
        borders = np.cumsum([0, *(batch.num_rows for batch in batches)])
        of_parts = keys[codes]
        write_batches(
            keys_file(self.folder, role, number),
            (batch_of({"key": of_parts[a:b]}) for a, b in itertools.pairwise(borders)),
        )
        order = np.argsort(keys)
        ids = encoded.dictionary.take(pa.array(order))
        keys = keys[order]
        write_columns(dictionary_file(self.folder, role, number), {"key": keys, "id": ids})
        of_ids = np.bincount(codes, n_rows, len(keys)).astype(np.int64)[order]
        return BucketReport(len(keys), _points(keys, of_ids), OddIds.among(ids, keys))


def _points(keys: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return (n, 2): of pieces of the ascending ``keys`` with about equal ``rows``, a middle key, and the rows."""
    total = np.cumsum(rows)
    piece = (total - rows) * _POINTS // max(1, int(total[-1])) if len(total) else total
    starts = np.flatnonzero(np.append(True, piece[1:] != piece[:-1])) if len(total) else np.empty(0, np.int64)
    stops = np.append(starts[1:], len(keys))
    of_pieces = np.add.reduceat(rows, starts) if len(starts) else starts
    return np.stack([keys[(starts + stops) // 2], of_pieces], axis=1)


def keys_of_part(folder: Path, role: str, part: int, buckets: int) -> np.ndarray:
    """Return the key (n,) of each id of a part, by its code there."""
    codes = np.concatenate([numbers(batch, "code") for batch in read_batches(ids_file(folder, role, part))])
    of_buckets = [numbers(read_batch(keys_file(folder, role, k), part), "key") for k in range(buckets)]
    keys = np.empty(len(codes), np.int64)
    keys[codes] = np.concatenate(of_buckets)
    return keys


class Range(NamedTuple):
    """The users of the partition ``number``: keys from ``start`` to before ``stop``."""

    number: int
    start: int
    stop: int


def choose_ranges(points: np.ndarray, end: int, most: int) -> list[Range]:
    """Return ranges of users up to the key ``end`` that have about ``most`` rows each; none is empty.

    ``points``: of all buckets, as of ``BucketReport``. A user with more rows is in one range all the same.
    """
    points = points[np.argsort(points[:, 0], kind="stable")]
    number = (np.cumsum(points[:, 1]) - points[:, 1]) // most
    is_start = np.append(True, number[1:] != number[:-1])
    starts = points[is_start, 0].tolist()
    starts[0] = 0
    borders = zip(starts, [*starts[1:], end], strict=True)
    return [Range(k, start, stop) for k, (start, stop) in enumerate(borders)]


def users_file(folder: Path, number: int) -> Path:
    """Return the file of the users of a partition, in the order of their keys."""
    return folder / f"users-{number}.arrow"


@dataclass(frozen=True)
class RangeTask(FolderTask[Range, int]):
    """Collects the users of partitions from the buckets; returns their number."""

    folder: Path
    buckets: int

    def work(self, part: Range, listener: Listener) -> int:
        keys, ids = [], []
        for bucket in range(self.buckets):
            batch = read_batch(dictionary_file(self.folder, "user_id", bucket))
            all_keys = numbers(batch, "key")
            first, stop = np.searchsorted(all_keys, [part.start, part.stop])
            keys.append(all_keys[first:stop])
            ids.append(batch.column("id").slice(first, stop - first))
        order = np.argsort(np.concatenate(keys))
        users = concat_texts(ids).take(pa.array(order))
        write_columns(users_file(self.folder, part.number), {"key": np.concatenate(keys)[order], "id": users})
        return len(users)


class SamplePart(NamedTuple):
    """A partition of users; ``before``: how many users come before it."""

    partition: int
    before: int


@dataclass(frozen=True)
class SampleTask(FolderTask[SamplePart, list[str]]):
    """Returns one user of ``step`` of partitions."""

    folder: Path
    step: int

    def work(self, part: SamplePart, listener: Listener) -> list[str]:
        users = read_batch(users_file(self.folder, part.partition)).column("id")
        sample: list[str] = users[-part.before % self.step :: self.step].to_pylist()
        return sample


def collect_items(folder: Path, buckets: int) -> tuple[np.ndarray, pa.Array]:
    """Return the keys and the ids of all items in the order of appearance; this process holds them."""
    batches = [read_batch(dictionary_file(folder, "item_id", bucket)) for bucket in range(buckets)]
    keys = np.concatenate([numbers(batch, "key") for batch in batches])
    order = np.argsort(keys)
    return keys[order], pc.take(concat_texts([batch.column("id") for batch in batches]), pa.array(order))
