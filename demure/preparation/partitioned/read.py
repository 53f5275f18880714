"""Read each part of the log into numbers, and its ids into buckets.

Ids get their numbers in three steps: here, within the part, in order of appearance; in ``ids``, by the first row of the
log that has them; and at the end, by how many ids before them are left. N rows, n distinct ids of a part.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from demure.preparation.cleaning import Cleaning
from demure.preparation.partitioned.batch_files import FolderTask, batch_of, write_batches, write_columns
from demure.preparation.partitioned.log import Log, LogPart
from demure.preparation.partitioned.plan import ColumnPlan
from demure.preparation.problems import Findings, Problem
from demure.preparation.reading.parsing import IdColumn
from demure.preparation.steps import CleaningStep
from demure.progress import Listener

ROLES = ("user_id", "item_id")


def rows_file(folder: Path, part: int) -> Path:
    """Return the file of the rows of a part."""
    return folder / f"part-{part}.arrow"


def ids_file(folder: Path, role: str, part: int) -> Path:
    """Return the file of the distinct ids of a part, a batch for each bucket."""
    return folder / f"part-{part}.{role}.arrow"


class Levels:
    """Records by which step each row is removed, instead of counting users and items, which lie in other parts too.

    ``levels`` (N,) int8: the number of the step among ``kinds``, or ``len(kinds)`` for a row that is left.
    """

    def __init__(self, kinds: list[str]) -> None:
        self.kinds, self.steps = kinds, list[CleaningStep]()
        self.levels = np.empty(0, np.int8)

    def start(self, users: np.ndarray, items: np.ndarray, kept: np.ndarray) -> None:
        """Begin with all rows."""
        self.levels = np.full(len(users), len(self.kinds), np.int8)

    def add(self, name: str, users: np.ndarray, items: np.ndarray, kept: np.ndarray | None = None) -> None:
        """Record the step ``name``, after which the rows ``kept`` are left."""
        assert kept is not None
        self.levels[~kept & (self.levels == len(self.kinds))] = self.kinds.index(name)


@dataclass(frozen=True)
class PartReport:
    """A part that was read.

    Attributes:
        problems: by kind, with the first rows.
        removed: (len(kinds) + 1,) the rows that each step removes, and those that are left.
        first_left: the item of the first row that is left.
    """

    problems: dict[str, Problem]
    removed: np.ndarray
    first_left: str | None


@dataclass(frozen=True)
class ReadTask(FolderTask[LogPart, PartReport]):
    """Reads parts by ``plan``, and writes their rows and ids into ``folder``; ids into ``buckets``."""

    log: Log
    plan: ColumnPlan
    folder: Path
    buckets: int
    roles: tuple[str, ...] = field(default=ROLES)

    def work(self, part: LogPart, listener: Listener) -> PartReport:
        findings = Findings()
        raw = self.plan.read(self.log.read(part, self.plan.columns), findings)
        levels = Levels(self.plan.kinds)
        cleaning = Cleaning(raw, findings, levels, is_part=True)
        cleaning.drop_unusable(self.plan.odd_times, need_ratings=self.plan.rules.need_ratings)
        if self.plan.events is not None:
            cleaning.leave_out_events(self.plan.events.step)
        for role, ids in zip(self.roles, (raw.users, raw.items), strict=True):
            write_batches(ids_file(self.folder, role, part.number), _buckets(ids, part.first, self.buckets))
        columns = {
            "user": raw.users.codes,
            "item": raw.items.codes,
            "time": raw.times,
            "rating": raw.ratings,
            "split": raw.split,
            "level": levels.levels,
        }
        write_columns(rows_file(self.folder, part.number), columns)
        left = np.flatnonzero(cleaning.kept)
        first_left = raw.items.text(int(left[0])) if len(left) else None
        return PartReport(findings.problems, np.bincount(levels.levels, minlength=len(self.plan.kinds) + 1), first_left)


def _buckets(ids: IdColumn, first_row: int, buckets: int) -> Iterator[pa.RecordBatch]:
    """Yield for each bucket its ids: text, code in the part, first row in the log, and number of rows."""
    n = len(ids.values)
    bucket_of = np.zeros(n, np.int64)
    if buckets > 1 and n:
        bucket_of = (pd.util.hash_array(ids.values.to_numpy(zero_copy_only=False)) % np.uint64(buckets)).astype(
            np.int64
        )
    rows = np.flatnonzero(ids.codes >= 0)
    codes = ids.codes[rows]
    first = np.empty(n, np.int64)
    first[codes[::-1]] = rows[::-1] + first_row
    n_rows = np.bincount(codes, minlength=n)
    order = np.argsort(bucket_of, kind="stable")
    borders = np.searchsorted(bucket_of[order], np.arange(buckets + 1))
    for start, stop in itertools.pairwise(borders):
        chosen = order[start:stop]
        yield batch_of(
            {
                "id": ids.values.take(pa.array(chosen)),
                "code": chosen.astype(np.int32),
                "first": first[chosen],
                "rows": n_rows[chosen].astype(np.int64),
            }
        )
