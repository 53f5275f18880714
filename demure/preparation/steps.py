"""The steps of cleaning and filtering: how much each removed and left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class CleaningStep:
    """A step: the rows, users and items that it ``removed``, and the numbers that are left after it."""

    step: str
    removed: int
    rows: int
    users: int
    items: int
    users_removed: int = 0
    items_removed: int = 0

    @classmethod
    def after(cls, last: CleaningStep, name: str, rows: int, users: int, items: int) -> CleaningStep:
        """Return the step ``name`` after ``last``, which leaves so many ``rows``, ``users`` and ``items``."""
        return cls(name, last.rows - rows, rows, users, items, last.users - users, last.items - items)


class CleaningSteps:
    """The steps so far, in order, in ``steps``."""

    def __init__(self, steps: list[CleaningStep] | None = None) -> None:
        self.steps: list[CleaningStep] = [] if steps is None else steps

    def start(self, users: np.ndarray, items: np.ndarray, kept: np.ndarray) -> None:
        """Record the rows that were read, and the users and items of the rows ``kept``, which have both."""
        self.steps.append(CleaningStep("read", 0, len(users), _n_distinct(users, kept), _n_distinct(items, kept)))

    def add(self, name: str, users: np.ndarray, items: np.ndarray, kept: np.ndarray | None = None) -> None:
        """Record a step after which the codes ``users`` and ``items`` are left, or the ones of rows ``kept``."""
        last = self.steps[-1]
        rows = len(users) if kept is None else int(np.count_nonzero(kept))
        self.steps.append(CleaningStep.after(last, name, rows, _n_distinct(users, kept), _n_distinct(items, kept)))


def _n_distinct(codes: np.ndarray, kept: np.ndarray | None) -> int:
    occurs = np.zeros(int(codes.max(initial=-1)) + 2, bool)  # the last position takes the code -1, of no id
    occurs[codes if kept is None or kept.all() else codes[kept]] = True
    return int(np.count_nonzero(occurs[:-1]))
