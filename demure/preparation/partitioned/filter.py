"""Filters that look at all users or items: rounds over the partitions, between which the counts of items are merged.

Each round reads the mask of the round before it and writes its own, so a round that is repeated gives the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from demure.cluster.executor import Executor
from demure.preparation.filters import Filters, Remaining, last_of_each_user
from demure.preparation.interactions import Interactions
from demure.preparation.partitioned.batch_files import FolderTask, load_array, save_array
from demure.preparation.partitioned.clean import ItemNumbers, cleaned_interactions, count_items
from demure.preparation.steps import CleaningStep
from demure.progress import Listener

_OF_ITEMS = "of-items.npy"  # of a round: which items are kept, or how often each occurs


def mask_file(folder: Path, partition: int, number: int) -> Path:
    """Return the file of the rows that a round has left in a partition."""
    return folder / f"kept-{partition}-{number}.npy"


@dataclass(frozen=True)
class RoundReport:
    """A round in one partition: the ``rows`` and ``users`` that are left, and the ``removed`` rows of each item."""

    rows: int
    users: int
    removed: ItemNumbers


@dataclass(frozen=True)
class RoundTask(FolderTask[int, RoundReport]):
    """One round of a filter in partitions; ``name`` of ``_ROUNDS``, with its ``limits``; ``number`` of the round."""

    folder: Path
    number: int
    name: str
    limits: tuple[int, ...] = ()

    def work(self, part: int, listener: Listener) -> RoundReport:
        # The rows are in order of time, so a round needs no times.
        interactions = replace(cleaned_interactions(self.folder, part), times=None, ratings=None, split=None)
        before = np.ones(len(interactions), bool)
        if self.number:
            before = load_array(mask_file(self.folder, part, self.number - 1)).copy()
        interactions.keep(np.flatnonzero(before))
        kept = before.copy()
        kept[before] = _ROUNDS[self.name](self, interactions)
        save_array(mask_file(self.folder, part, self.number), kept)
        users = interactions.users[kept[before]]
        removed = count_items(interactions.items[~kept[before]])
        return RoundReport(len(users), len(np.unique(users)), removed)

    def of_items(self) -> np.ndarray:
        """Return the numbers of the items that the round uses, mapped into memory."""
        return load_array(self.folder / f"{self.number}-{_OF_ITEMS}")


def _without_bare(task: RoundTask, interactions: Interactions) -> np.ndarray:
    kept: np.ndarray = ~task.of_items()[interactions.items]
    return kept


def _frequent(task: RoundTask, interactions: Interactions) -> np.ndarray:
    user_k, item_k = task.limits
    is_frequent: np.ndarray = (np.bincount(interactions.users) >= user_k)[interactions.users]
    is_frequent &= task.of_items()[interactions.items] >= item_k
    return is_frequent


def _latest(task: RoundTask, interactions: Interactions) -> np.ndarray:
    return last_of_each_user(interactions, task.limits[0])


def _long_histories(task: RoundTask, interactions: Interactions) -> np.ndarray:
    long_enough: np.ndarray = (np.bincount(interactions.users) >= task.limits[0])[interactions.users]
    return long_enough


_ROUNDS: dict[str, Callable[[RoundTask, Interactions], np.ndarray]] = {
    "bare": _without_bare,
    "core": _frequent,
    "max-history": _latest,
    "min-history": _long_histories,
}


class PartitionedFilters(Filters):
    """The filters of ``demure.preparation.filters``, over partitions.

    ``counts`` (I,): the rows of each item; ``rounds``: how many rounds have been.
    """

    def __init__(
        self, folder: Path, partitions: int, counts: np.ndarray, executor: Executor, steps: list[CleaningStep]
    ) -> None:
        self.folder, self.partitions, self.counts, self._executor = folder, partitions, counts, executor
        self.steps, self.rounds = steps, 0

    def drop_bare(self, bare: np.ndarray) -> Remaining:
        return self._remove("bare", bare)

    def keep_core(self, user_k: int, item_k: int) -> Remaining:
        while True:
            before = int(self.counts.sum())
            left = self._remove("core", self.counts, (user_k, item_k))
            if left.rows in (0, before):
                return left

    def keep_latest(self, n: int) -> Remaining:
        return self._remove("max-history", None, (n,))

    def keep_long(self, n: int) -> Remaining:
        return self._remove("min-history", None, (n,))

    def _remove(self, name: str, of_items: np.ndarray | None, limits: tuple[int, ...] = ()) -> Remaining:
        task = RoundTask(self.folder, self.rounds, name, limits)
        if of_items is not None:
            save_array(self.folder / f"{self.rounds}-{_OF_ITEMS}", of_items)
        rows = users = 0
        for report in self._executor.map(task, range(self.partitions)):
            rows, users = rows + report.rows, users + report.users
            self.counts[report.removed.items] -= report.removed.numbers
        self._discard(self.rounds - 1)
        self.rounds += 1
        return Remaining(rows, users, int(np.count_nonzero(self.counts)))

    def _discard(self, number: int) -> None:
        """Delete the masks of a round that no later one reads."""
        for partition in range(self.partitions):
            mask_file(self.folder, partition, number).unlink(missing_ok=True)
