"""The steps and problems of cleaning, from what all parts and partitions report."""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from demure.preparation.cleaning import (
    BEFORE_SINCE,
    FROM_UNTIL,
    UNKNOWN_ITEM,
    duplicate_kind,
    low_rating_kind,
    no_row_left,
)
from demure.preparation.partitioned.clean import CleanReport, DuplicateRow
from demure.preparation.partitioned.log import Log
from demure.preparation.partitioned.plan import ColumnPlan
from demure.preparation.partitioned.shuffle import ShuffleReport
from demure.preparation.problems import ROWS_KEPT, Findings, Problem, ProblemRow
from demure.preparation.steps import CleaningStep

_READING = ["empty user id", "empty item id", "bad timestamp", "bad rating", "unknown split"]


class StepTally:
    """Counts the rows, users and items that each step of ``plan.kinds`` removes.

    ``items`` (I,) int64: the last step that removes a row of each item of the log, -1 for an item without a user.
    """

    def __init__(self, plan: ColumnPlan, log: Log) -> None:
        self._plan, self._log, self._rules = plan, log, plan.rules
        self._removed = dict.fromkeys(plan.kinds, 0)
        self._users = np.zeros(len(plan.kinds) + 1, np.int64)
        self._users_with_items = 0
        self._items = np.empty(0, np.int64)
        self._duplicates: list[DuplicateRow] = []

    def add_read(self, removed: np.ndarray) -> None:
        """Add the rows that reading a part removes, as of ``PartReport``."""
        for kind, n in zip(self._plan.kinds, removed.tolist(), strict=False):
            self._removed[kind] += n

    def add_shuffled(self, report: ShuffleReport) -> None:
        """Add the rows that sending a part removes."""
        for kind, n in report.removed.items():
            self._removed[kind] += n

    def add_cleaned(self, report: CleanReport, n_items: int) -> None:
        """Add a partition; ``n_items``: of the log."""
        for kind, n in report.removed.items():
            self._removed[kind] += n
        self._users += report.users
        self._users_with_items += report.users_with_items
        if not len(self._items):
            self._items = np.full(n_items, -1, np.int64)
        items, levels = report.items
        self._items[items] = np.maximum(self._items[items], levels)
        self._duplicates = list(heapq.merge(self._duplicates, report.duplicates))[:ROWS_KEPT]

    def left_before(self, kind: str) -> int:
        """Return the rows that are left before the step ``kind``."""
        earlier = self._plan.kinds[: self._plan.kinds.index(kind)]
        return self._log.rows - sum(self._removed[name] for name in earlier)

    def refuse_empty(self, *stops: str) -> None:
        """Raise ``DataError`` if no row is left after the steps before one of ``stops``."""
        for stop in stops:
            if not self.left_before(stop):
                raise no_row_left(self._log.path, self.steps(stop))

    def refuse_empty_reading(self) -> None:
        """Raise ``DataError`` if no row is left after the unusable ones, or after the events."""
        events = self._plan.events
        self.refuse_empty(*([events.step] if events is not None and events.step is not None else []), UNKNOWN_ITEM)

    def refuse_empty_times(self) -> None:
        """Raise ``DataError`` if no row is left after ``--since``, or after ``--until``."""
        duplicates = duplicate_kind(self._rules.duplicates, timed=self._plan.times is not None)
        stops = [FROM_UNTIL] if self._rules.since is not None else []
        self.refuse_empty(*stops, *([duplicates] if self._rules.until is not None else []))

    def refuse_empty_ratings(self) -> None:
        """Raise ``DataError`` if no row is left after ``--min-rating``."""
        if self._rules.min_rating is not None and self._log.rows == sum(self._removed.values()):
            raise no_row_left(self._log.path, self.steps())

    def steps(self, stop: str | None = None) -> list[CleaningStep]:
        """Return the steps, up to the one before ``stop``."""
        n_items = int(np.count_nonzero(self._items >= 0))
        steps = [CleaningStep("read", 0, self._log.rows, self._users_with_items, n_items)]
        rows = self._log.rows
        for level, kind in enumerate(self._plan.kinds):
            if kind == stop:
                break
            if not self._removed[kind] and not self._is_always_recorded(kind):
                continue
            rows -= self._removed[kind]
            users = int(self._users[level + 1 :].sum())
            steps.append(CleaningStep.after(steps[-1], kind, rows, users, int(np.count_nonzero(self._items > level))))
        return steps

    def _is_always_recorded(self, kind: str) -> bool:
        rules, events = self._rules, self._plan.events
        asked = {BEFORE_SINCE: rules.since is not None, FROM_UNTIL: rules.until is not None}
        if rules.min_rating is not None:
            asked[low_rating_kind(rules.min_rating)] = True
        return asked.get(kind, events is not None and kind == events.step)

    def add_duplicates(self, raw_ids: pa.Array, findings: Findings) -> None:
        """Add the problem of duplicate rows; ``raw_ids`` (I,): the ids of the items of the log."""
        kind = duplicate_kind(self._rules.duplicates, timed=self._plan.times is not None)
        texts = [f"user {row.user_id} item {raw_ids[row.item].as_py()}" for row in self._duplicates]
        rows = np.array([row.row for row in self._duplicates], np.int64)
        if self._removed[kind]:
            findings.merge(problem_of(self._log, kind, self._removed[kind], rows, texts))


def problem_of(log: Log, kind: str, count: int, rows: np.ndarray, texts: Iterable[str | None]) -> Problem:
    """Return a problem of ``count`` dropped rows, the first of which are ``rows`` of the log, with their values."""
    row_numbers = log.row_numbers.of(rows)
    shown = [
        ProblemRow(log.path.name, int(number), "" if text is None else text[:200])
        for number, text in zip(row_numbers, texts, strict=True)
    ]
    return Problem(kind, "dropped", count, shown)


class PartProblems:
    """The problems of all parts, which come into the order that they have in one process."""

    def __init__(self) -> None:
        self._findings = Findings()

    def add(self, problems: dict[str, Problem]) -> None:
        """Add the problems of the next part."""
        for problem in problems.values():
            self._findings.merge(problem)

    def move_units(self, findings: Findings, units: Iterable[str]) -> None:
        """Move the times in other units than most, in the order of ``units``."""
        for unit in units:
            for kind in list(self._findings.problems):
                if kind.startswith(f"timestamp in {unit}, "):
                    findings.merge(self._findings.problems.pop(kind))

    def move(self, plan: ColumnPlan, findings: Findings) -> None:
        """Move the others."""
        for kind in [*_READING, *(odd.kind for odd in plan.odd_times)]:
            if kind in self._findings.problems:
                findings.merge(self._findings.problems.pop(kind))


def add_unknown_items(report: ShuffleReport, raw_ids: pa.Array, log: Log, findings: Findings) -> None:
    """Add the rows of the next part that have unknown items."""
    count, rows, items = report.unknown
    if count:
        texts = [raw_ids[int(item)].as_py() for item in items]
        findings.merge(problem_of(log, UNKNOWN_ITEM, count, rows, texts))
