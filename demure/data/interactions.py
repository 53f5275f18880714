"""The interactions: read into codes, and cleaned step by step, every dropped row reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from demure.data.columns import find, require
from demure.data.items import Items
from demure.data.problems import Findings
from demure.data.split import LABELS, NEED_TIME
from demure.data.tables import Raw
from demure.data.values import as_text, codes, ids, is_blank, numbers, seconds
from demure.errors import DataError

_LOOKS_MISSING = {"nan", "none", "null", "na", "n/a", "<na>"}


@dataclass(frozen=True)
class Interactions:
    """N interactions in file order: ``users``, ``items`` (N,) int64 codes into ``user_ids``, ``item_ids``; ``times``
    (N,) seconds; ``ratings`` (N,); ``split`` (N,) int8; ``rows`` (N,) their numbers in the file."""

    user_ids: np.ndarray
    item_ids: np.ndarray
    users: np.ndarray
    items: np.ndarray
    times: np.ndarray | None
    ratings: np.ndarray | None
    split: np.ndarray | None
    rows: np.ndarray

    def take(self, kept: np.ndarray) -> Interactions:
        """The interactions that ``kept`` (mask or positions) chooses."""
        return replace(
            self,
            users=self.users[kept],
            items=self.items[kept],
            times=None if self.times is None else self.times[kept],
            ratings=None if self.ratings is None else self.ratings[kept],
            split=None if self.split is None else self.split[kept],
            rows=self.rows[kept],
        )


@dataclass(frozen=True)
class Step:
    """A step of cleaning: rows ``removed`` by it, and what is left after it."""

    step: str
    removed: int
    rows: int
    users: int
    items: int


def step_after(name: str, before: int, left: Interactions) -> Step:
    """What a step did that was given ``before`` rows."""
    n = len(left.rows)
    return Step(name, before - n, n, len(np.unique(left.users)), len(np.unique(left.items)))


def clean(
    raw: Raw, items: Items | None, items_file: Path | None, split: str, findings: Findings
) -> tuple[Interactions, list[Step]]:
    """Read the columns and drop the rows that cannot be used; of the same user and item the latest is kept.

    With ``items``, item codes are their rows. Raises ``DataError`` for missing columns, for a split that the columns
    do not allow, and if nothing is left.
    """
    path, table = raw.path, raw.table
    user_column = require(raw.columns, "user_id", path, findings)
    item_column = require(raw.columns, "item_id", path, findings)
    time_column = find(raw.columns, "timestamp", path, findings)
    rating_column = find(raw.columns, "rating", path, findings)
    split_column = find(raw.columns, "split", path, findings)
    times = None if time_column is None else seconds(table[time_column], time_column, path, findings)
    _refuse(split, path, times is not None, split_column)
    user_texts = ids(raw, user_column)
    item_texts = ids(raw, item_column)
    user_codes, user_ids = codes(user_texts)
    item_codes, item_ids = codes(item_texts)
    rows = raw.first_row + np.arange(table.num_rows)
    ratings, labels = None, None
    bad_rating = np.zeros(len(rows), bool)
    if rating_column is not None:
        ratings, blank = numbers(table[rating_column], rating_column, path)
        bad_rating = ~np.isfinite(ratings) & ~blank
        ratings = None if blank.all() else ratings
    if split == "given":
        given, names = codes(as_text(table[split_column], str(split_column), path))
        known = np.array([*(LABELS.get(name.strip().lower(), -1) for name in names), -1], dtype=np.int8)
        labels = known[given]
    everything = Interactions(user_ids, item_ids, user_codes, item_codes, times, ratings, labels, rows)
    steps = [step_after("read", len(rows), everything.take((user_codes >= 0) & (item_codes >= 0)))]
    steps[0] = Step("read", 0, len(rows), steps[0].users, steps[0].items)
    alive = np.ones(len(rows), bool)

    def drop(kind: str, bad: np.ndarray, value: Callable[[int], object]) -> None:
        nonlocal alive
        gone = np.flatnonzero(alive & bad)
        if len(gone):
            findings.add(kind, "dropped", path, rows[gone], lambda k: value(int(gone[k])))
            alive &= ~bad
            steps.append(step_after(kind, steps[-1].rows, everything.take(alive)))

    def cell(column: str | None) -> Callable[[int], object]:
        return lambda k: table[column][k].as_py()

    drop("empty user id", is_blank(user_texts), cell(user_column))
    drop("empty item id", is_blank(item_texts), cell(item_column))
    if times is not None:
        drop("bad timestamp", np.isnan(times), cell(time_column))
    drop("bad rating", bad_rating, cell(rating_column))
    if labels is not None:
        drop("unknown split", labels < 0, cell(split_column))
    _note_odd(user_ids, user_column, findings, path)
    _note_odd(item_ids, item_column, findings, path)
    if items is not None:
        place = pd.Index(items.ids).get_indexer(pd.Index(item_ids)) if len(item_ids) else np.empty(0, np.int64)
        if alive.any() and (place[item_codes[alive]] < 0).all():
            example = item_ids[item_codes[np.flatnonzero(alive)[0]]]
            source = items_file.name if items_file is not None else "the features"
            raise DataError(
                f"no item of the interactions is in {source} (for example {example!r}; there: {items.ids[0]!r})",
                where=path,
                remedy="use the same item ids in both",
            )
        mapped = np.append(place, -1)[item_codes].astype(np.int64)
        drop("unknown item", mapped < 0, cell(item_column))
        everything = Interactions(user_ids, items.ids, user_codes, mapped, times, ratings, labels, rows)
    latest = _latest(everything, alive)
    kind = "same user and item again" + (", kept the latest" if times is not None else ", kept the last row")
    drop(kind, ~latest, lambda k: f"user {user_ids[user_codes[k]]} item {item_texts[k]}")
    if not alive.any():
        reasons = ", ".join(f"{problem.kind}: {problem.count}" for problem in findings.problems.values())
        raise DataError(f"no usable row is left ({reasons})", where=path, remedy="mend the file")
    return everything.take(alive), steps


def _refuse(split: str, path: Path, timed: bool, split_column: str | None) -> None:
    given = ", or --split given for the file's own" if split_column is not None else ""
    if split in NEED_TIME and not timed:
        remedy = f"use --split ratio{given}"
        raise DataError(f"has no timestamps, which --split {split} needs", where=path, remedy=remedy)
    if split == "given" and split_column is None:
        remedy = "add a column split with train, valid or test, or use another --split"
        raise DataError("has no column split, which --split given needs", where=path, remedy=remedy)


def _note_odd(names: np.ndarray, column: str, findings: Findings, path: Path) -> None:
    for one in names:
        if len(one) <= 4 and one.lower() in _LOOKS_MISSING:
            findings.note(f"{path.name}: {one!r} in column {column!r} is taken as an id")


def _latest(them: Interactions, alive: np.ndarray) -> np.ndarray:
    """(N,) bool: among ``alive``, the latest row of its user and item, by time and then by place in the file."""
    chosen = np.flatnonzero(alive)
    keys = them.users[chosen] * len(them.item_ids) + them.items[chosen]
    order = np.lexsort((keys,) if them.times is None else (them.times[chosen], keys))
    last = np.append(keys[order][1:] != keys[order][:-1], True) if len(order) else np.empty(0, bool)
    latest = np.zeros(len(alive), bool)
    latest[chosen[order[last]]] = True
    return latest
