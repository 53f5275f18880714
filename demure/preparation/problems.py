"""Problems of the input, row by row, and notes on the assumptions about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from demure.files import write_csv

ROWS_KEPT = 1000
FIRST = 5


@dataclass(frozen=True)
class ProblemRow:
    """One offending row: ``row`` is its number in ``file`` (see ``demure.preparation.reading.raw_table.RawTable``)."""

    file: str
    row: int
    value: str


@dataclass
class Problem:
    """One kind of problem: the number of its rows, the action taken, and the first rows."""

    kind: str
    action: str
    count: int = 0
    rows: list[ProblemRow] = field(default_factory=list)

    @property
    def first(self) -> list[ProblemRow]:
        """The rows to show."""
        return self.rows[:FIRST]

    def to_dict(self) -> dict[str, Any]:
        """Return the problem as JSON has it."""
        return {"count": self.count, "action": self.action, "first": [vars(row) for row in self.first]}


@dataclass
class Findings:
    """What reading and cleaning found: problems by kind, and notes on guesses and choices, each in one line."""

    problems: dict[str, Problem] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Add a note, unless it is there already."""
        if text not in self.notes:
            self.notes.append(text)

    def add(self, kind: str, action: str, file: Path, rows: np.ndarray, value: Callable[[int], object]) -> None:
        """Count the rows numbered ``rows``; ``value(k)`` is the offending value of the k-th of them."""
        if not len(rows):
            return
        problem = self.problems.setdefault(kind, Problem(kind, action))
        problem.count += len(rows)
        for k in range(min(len(rows), ROWS_KEPT - len(problem.rows))):
            shown = value(k)
            problem.rows.append(ProblemRow(file.name, int(rows[k]), "" if shown is None else str(shown)[:200]))

    def merge(self, problem: Problem) -> None:
        """Add a problem that was counted elsewhere, in rows that come after the ones here."""
        own = self.problems.setdefault(problem.kind, Problem(problem.kind, problem.action))
        own.count += problem.count
        own.rows += problem.rows[: ROWS_KEPT - len(own.rows)]

    def write(self, path: Path) -> None:
        """Write problems.csv: kind, file, row, value, action; at most ``ROWS_KEPT`` rows of each kind."""
        rows = (
            (problem.kind, row.file, row.row, row.value, problem.action)
            for problem in self.problems.values()
            for row in problem.rows
        )
        write_csv(path, ["kind", "file", "row", "value", "action"], rows)
