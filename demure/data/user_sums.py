"""Sums over all users as sums over parts of the users: in this process, or by the workers of a cluster.

Sums of whole numbers are the same for any division of the users, so that every worker has one part. Other sums are of
the same parts wherever they are computed, added in their order, so that they are the same bytes in one process and on
any number of workers.

Shape suffixes: U users, N interactions, I items.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from demure.cluster.executor import Executor, Task
from demure.data.dataset import Dataset
from demure.data.manifest import MANIFEST
from demure.progress import Listener, silent

if TYPE_CHECKING:
    from demure.data.histories import Histories

INTERACTIONS_AT_ONCE = 2**22
"""Interactions of a part, on average, where the parts decide the rounding of the sum."""

Sums = tuple[Any, ...]
"""Arrays, or sparse arrays, that add up over users, each with the one at the same place of other users."""


class UserSum(Protocol):
    """What is summed over users. A class is a dataclass of small fields, which travels to the workers.

    ``whole``: whether the numbers are whole, and so small that their sums are exact.
    """

    @property
    def whole(self) -> bool: ...

    def of(self, histories: Histories) -> Sums:
        """Return the sums over the users of ``histories``."""
        ...


@dataclass(frozen=True)
class ItemCounts:
    """The interactions of each item (I,) int64."""

    n_items: int
    whole = True

    def of(self, histories: Histories) -> Sums:
        return (np.bincount(histories.items, minlength=self.n_items),)


def sum_users(summed: UserSum, histories: Histories) -> Sums:
    """Return the sums over the users of ``histories``, in this process."""
    n_users = len(histories.indptr) - 1
    parts = _ranges(n_users, 1 if summed.whole else _count_parts(len(histories.items)))
    if len(parts) == 1:
        return summed.of(histories)
    return add(summed.of(histories.slice_users(part.start, part.stop)) for part in parts)


def add(parts: Iterable[Sums]) -> Sums:
    """Return the sum of ``parts``, of which there is at least one, in their order."""
    total: Sums | None = None
    for part in parts:
        total = part if total is None else tuple(first + second for first, second in zip(total, part, strict=True))
    assert total is not None
    return total


class SumPart(NamedTuple):
    """The sum number ``which`` of a task, over the ``users`` of a range."""

    which: int
    users: range


@dataclass(frozen=True)
class UserSumTask(Task[SumPart, Sums]):
    """Sums over parts of the users of ``dataset``, by their training histories."""

    dataset: Path
    sums: tuple[UserSum, ...]

    def shared_files(self) -> list[Path]:
        return [self.dataset / MANIFEST]

    def take_over(self, earlier: Task[Any, Any]) -> None:
        """Keep the dataset, if it is the same."""
        if isinstance(earlier, UserSumTask) and earlier.dataset == self.dataset:
            vars(self).update(opened=earlier.opened)

    @cached_property
    def opened(self) -> Dataset:
        """The dataset."""
        return Dataset.load(self.dataset)

    @cached_property
    def train(self) -> Histories:
        """The training histories of all users."""
        return self.opened.histories("train")

    def work(self, part: SumPart, listener: Listener) -> Sums:
        return self.sums[part.which].of(self.train.slice_users(part.users.start, part.users.stop))


def sum_on(executor: Executor, dataset: Dataset, sums: Sequence[UserSum], listener: Listener = silent) -> list[Sums]:
    """Return each of ``sums`` over the users of ``dataset``, by their training histories, computed by ``executor``.

    The same bytes as those of :func:`sum_users`.
    """
    counts = dataset.manifest.counts
    parts = [
        SumPart(which, users)
        for which, summed in enumerate(sums)
        for users in _ranges(counts.users, executor.workers if summed.whole else _count_parts(counts.train))
    ]
    task = UserSumTask(Path(os.path.abspath(dataset.path)), tuple(sums))
    totals: dict[int, Sums] = {}
    for part, value in zip(parts, executor.map(task, parts, listener), strict=True):
        totals[part.which] = add([totals[part.which], value]) if part.which in totals else value
    return [totals[which] for which in range(len(sums))]


def _count_parts(interactions: int) -> int:
    return max(1, -(-interactions // INTERACTIONS_AT_ONCE))


def _ranges(n_users: int, parts: int) -> list[range]:
    """Return the users in ``parts`` ranges of about as many users each, fewer where there are fewer users."""
    parts = max(1, min(parts, n_users))
    bounds = [n_users * part // parts for part in range(parts + 1)]
    return [range(first, stop) for first, stop in pairwise(bounds)]
