"""What each step of cleaning and filtering took away, and what it left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Step:
    """A step of cleaning: rows, users and items ``removed`` by it, and what is left after it."""

    step: str
    removed: int
    rows: int
    users: int
    items: int
    users_removed: int = 0
    items_removed: int = 0


class Steps:
    """The steps so far, in order."""

    def __init__(self, taken: list[Step] | None = None) -> None:
        self.taken: list[Step] = [] if taken is None else taken

    def start(self, users: np.ndarray, items: np.ndarray, alive: np.ndarray) -> None:
        """What was read: all rows; users and items of those that have both."""
        self.taken.append(Step("read", 0, len(users), _distinct(users, alive), _distinct(items, alive)))

    def add(self, name: str, users: np.ndarray, items: np.ndarray, alive: np.ndarray | None = None) -> None:
        """A step after which the codes ``users`` and ``items`` are left, or those of them that are ``alive``."""
        last = self.taken[-1]
        rows = len(users) if alive is None else int(np.count_nonzero(alive))
        n_users, n_items = _distinct(users, alive), _distinct(items, alive)
        self.taken.append(
            Step(name, last.rows - rows, rows, n_users, n_items, last.users - n_users, last.items - n_items)
        )


def _distinct(codes: np.ndarray, alive: np.ndarray | None) -> int:
    there = np.zeros(int(codes.max(initial=-1)) + 2, bool)  # the last place takes those without a code
    there[codes if alive is None or alive.all() else codes[alive]] = True
    return int(np.count_nonzero(there[:-1]))
