"""The final rows of each partition: filtered, numbered and split, with what each split gives away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from demure.cluster.executor import Executor
from demure.data.leakage import LeakTally, combine_leaks, count_after, first_moments, tally_leaks
from demure.data.splits import cut_positions
from demure.preparation.options import PrepareOptions
from demure.preparation.partitioned.batch_files import (
    FolderTask,
    load_array,
    numbers,
    optional_numbers,
    read_batch,
    write_columns,
)
from demure.preparation.partitioned.clean import cleaned_interactions, read_interactions
from demure.preparation.partitioned.filter import mask_file
from demure.preparation.partitioned.ids import users_file
from demure.preparation.partitioned.order_statistics import count_digits, values_at
from demure.preparation.problems import Findings
from demure.preparation.split import PreparedSplit, WantedSplit, possible_splits
from demure.preparation.write import json_texts
from demure.progress import Listener

NEW_ITEMS = "new-items.npy"  # (I,) the final code of each item


def final_file(folder: Path, partition: int) -> Path:
    """Return the file of the final rows of a partition, without their split."""
    return folder / f"final-{partition}.arrow"


def final_users_file(folder: Path, partition: int) -> Path:
    """Return the file of the final users of a partition."""
    return folder / f"final-{partition}.users.arrow"


def _split_file(folder: Path, partition: int, name: str) -> Path:
    return folder / f"split-{partition}.{name}.arrow"


def split_codes(folder: Path, partition: int, name: str) -> np.ndarray:
    """Return the split code (N,) int8 of each row of a partition, as ``split_partitions`` left them."""
    return numbers(read_batch(_split_file(folder, partition, name)), "split")


class FinalPartition(NamedTuple):
    """The final rows of the partition ``number``: ``users`` with ids of ``user_bytes`` as ``json_texts``, ``short`` of
    whom have fewer than three rows."""

    number: int
    rows: int
    users: int
    user_bytes: int
    short: int


@dataclass(frozen=True)
class FinishTask(FolderTask[int, FinalPartition]):
    """Writes the final rows and users of partitions; ``rounds``: how many rounds of filters there were."""

    folder: Path
    rounds: int

    def work(self, part: int, listener: Listener) -> FinalPartition:
        interactions = cleaned_interactions(self.folder, part)
        if self.rounds:
            interactions.keep(load_array(mask_file(self.folder, part, self.rounds - 1)))
        counts = np.bincount(interactions.users)
        users = np.flatnonzero(counts)
        new_user = np.cumsum(counts > 0, dtype=np.int32) - np.int32(1)
        columns = {
            "user": new_user[interactions.users],
            "item": load_array(self.folder / NEW_ITEMS)[interactions.items],
            "time": interactions.times,
            "rating": interactions.ratings,
            "split": interactions.split,
        }
        ids = read_batch(users_file(self.folder, part)).column("id").take(pa.array(users))
        write_columns(final_file(self.folder, part), columns)
        write_columns(final_users_file(self.folder, part), {"id": ids})
        n_bytes = len(json_texts(ids))
        short = int(np.count_nonzero(counts[users] < 3))
        return FinalPartition(part, len(interactions), len(users), n_bytes, short)


class DigitPart(NamedTuple):
    """A partition whose times are counted; see ``count_digits``."""

    partition: int
    prefixes: tuple[int, ...]
    digit: int


@dataclass(frozen=True)
class DigitTask(FolderTask[DigitPart, np.ndarray]):
    """Counts the digits of the final times."""

    folder: Path

    def work(self, part: DigitPart, listener: Listener) -> np.ndarray:
        times = numbers(read_batch(final_file(self.folder, part.partition)), "time")
        return count_digits(times, part.prefixes, part.digit)


class SplitPart(NamedTuple):
    """A partition to split; ``before``: how many rows come before it."""

    partition: int
    before: int


@dataclass(frozen=True)
class SplitTask(FolderTask[SplitPart, list[LeakTally]]):
    """Splits partitions in all ``wanted`` ways; ``cuts``: of the split by time."""

    folder: Path
    wanted: tuple[WantedSplit, ...]
    options: PrepareOptions
    cuts: np.ndarray | None

    def work(self, part: SplitPart, listener: Listener) -> list[LeakTally]:
        interactions = read_interactions(final_file(self.folder, part.partition))
        tallies = []
        for wanted in self.wanted:
            codes = wanted.codes(interactions, self.options, first=part.before, cuts=self.cuts)
            with_codes = codes.astype(np.int8)
            tallies.append(tally_leaks(interactions.users, interactions.items, interactions.times, with_codes))
            write_columns(_split_file(self.folder, part.partition, wanted.name), {"split": with_codes})
        return tallies


@dataclass(frozen=True)
class LaterTask(FolderTask[int, list[int]]):
    """Counts in partitions what is later than the ``moments`` of each split; see ``count_after``."""

    folder: Path
    moments: dict[str, tuple[float, float]]

    def work(self, part: int, listener: Listener) -> list[int]:
        times = optional_numbers(read_batch(final_file(self.folder, part)), "time")
        assert times is not None
        return [
            count_after(times, split_codes(self.folder, part, name), moments) for name, moments in self.moments.items()
        ]


def split_partitions(
    folder: Path,
    partitions: Sequence[FinalPartition],
    wanted: Sequence[WantedSplit],
    dates: np.ndarray | None,
    options: PrepareOptions,
    executor: Executor,
    findings: Findings,
    *,
    timed: bool,
) -> list[PreparedSplit]:
    """Return the splits of ``partitions`` with rows, as ``make_splits``; their codes lie beside the partitions."""
    starts = np.cumsum([0, *(partition.rows for partition in partitions)])
    cuts = None
    if any(split.strategy == "time" for split in wanted):
        cuts = _find_cuts(folder, partitions, int(starts[-1]), options, executor)
    parts = [SplitPart(partition.number, int(start)) for partition, start in zip(partitions, starts, strict=False)]
    by_part = list(executor.map(SplitTask(folder, tuple(wanted), options, cuts), parts))
    tallies = {split.name: [part[k] for part in by_part] for k, split in enumerate(wanted)}
    moments = {name: first for name, parts_ in tallies.items() if (first := first_moments(parts_)) is not None}
    later = dict.fromkeys(moments, 0)
    if moments:
        for counts in executor.map(LaterTask(folder, moments), [partition.number for partition in partitions]):
            later = {name: later[name] + count for name, count in zip(later, counts, strict=True)}
    n_short = sum(partition.short for partition in partitions)

    def make(split: WantedSplit) -> PreparedSplit:
        sizes = np.sum([tally.sizes for tally in tallies[split.name]], axis=0)
        notes = split.notes(options, sizes, n_short)
        leaks = combine_leaks(tallies[split.name], later.get(split.name), dates)
        return PreparedSplit(split.name, split.strategy, split.ratio_by, np.empty(0, np.int8), leaks, notes, timed)

    return possible_splits(wanted, make, options, findings)


def _find_cuts(
    folder: Path, partitions: Sequence[FinalPartition], rows: int, options: PrepareOptions, executor: Executor
) -> np.ndarray:
    def count(prefixes: tuple[int, ...], digit: int) -> np.ndarray:
        parts = [DigitPart(partition.number, prefixes, digit) for partition in partitions]
        total = np.zeros((len(prefixes), 1), np.int64)
        for counts in executor.map(DigitTask(folder), parts):
            total = total + counts
        return total

    return values_at(cut_positions(rows, options.ratio), rows, count)
