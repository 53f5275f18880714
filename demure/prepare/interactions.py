"""The interactions: read into codes, and cleaned step by step, every dropped row reported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from demure.data.splits import LABELS, NEED_TIME
from demure.errors import DataError
from demure.prepare.cleaning import Step, Steps
from demure.prepare.duplicates import DUPLICATES, kept_of_repeats
from demure.prepare.items import Items
from demure.prepare.problems import Findings
from demure.prepare.reading.columns import find, require
from demure.prepare.reading.parsing import Ids, encoded, ids, implausible, numbers, seconds
from demure.prepare.reading.tables import Raw

_LOOKS_MISSING = ["nan", "none", "null", "na", "n/a", "<na>"]


@dataclass
class Interactions:
    """N interactions in file order: ``users``, ``items`` (N,) int32 codes into ``user_ids``, ``item_ids``; ``times``
    (N,) seconds; ``ratings`` (N,); ``split`` (N,) int8."""

    user_ids: np.ndarray
    item_ids: np.ndarray
    users: np.ndarray
    items: np.ndarray
    times: np.ndarray | None
    ratings: np.ndarray | None
    split: np.ndarray | None

    def __len__(self) -> int:
        return len(self.users)

    def keep(self, kept: np.ndarray) -> None:
        """Only the interactions that ``kept`` (mask or positions) chooses; column by column, for memory's sake."""
        if kept.dtype == bool and kept.all():
            return
        for name in ("users", "items", "times", "ratings", "split"):
            column = getattr(self, name)
            if column is not None:
                setattr(self, name, column[kept])


@dataclass(frozen=True)
class Rules:
    """Which rows are cleaned away. ``since`` and ``until``: seconds since 1970, from ``since`` to before ``until``.
    ``duplicates``: which of the rows of one user and item are kept, of ``DUPLICATES``; ``min_rating``: what lies below
    it was not liked. The latest opinion counts: ratings are looked at after duplicates."""

    split: str = "ratio"
    since: float | None = None
    until: float | None = None
    duplicates: str = "latest"
    min_rating: float | None = None


@dataclass
class Picked:
    """What is needed of the raw columns, and no more: the file's table can be let go.

    ``times``, ``ratings`` (N,) float64 with NaN; ``labels`` (N,) int8, -1 where unknown; ``bad``: role -> (N,) bool,
    what cannot be used, and ``cells``: what stands there, in the order of the rows.
    """

    path: Path
    first_row: int
    columns: dict[str, str]
    users: Ids
    items: Ids
    times: np.ndarray | None
    ratings: np.ndarray | None
    labels: np.ndarray | None
    bad: dict[str, np.ndarray]
    cells: dict[str, pa.ChunkedArray]


def pick(raw: Raw, rules: Rules, findings: Findings) -> Picked:
    """Read the columns. Raises ``DataError`` for missing ones, and for rules that the columns do not allow."""
    path, table = raw.path, raw.table
    user_column, item_column = (require(raw.columns, role, path, findings) for role in ("user_id", "item_id"))
    time_column, rating_column, split_column = (
        find(raw.columns, role, path, findings) for role in ("timestamp", "rating", "split")
    )
    times = None if time_column is None else seconds(table[time_column], time_column, path, findings, raw.first_row)
    _refuse_untimed(rules, path, times is not None, split_column)
    ratings, labels, bad, cells = None, None, {}, {}
    if times is not None:
        bad["timestamp"] = np.isnan(times)
        cells["timestamp"] = table[time_column].filter(pa.array(bad["timestamp"]))
    if rating_column is not None:
        ratings, blank = numbers(table[rating_column], rating_column, path)
        bad["rating"] = ~np.isfinite(ratings) & ~blank
        cells["rating"] = table[rating_column].filter(pa.array(bad["rating"]))
        ratings = None if blank.all() else ratings
    if ratings is None and (rules.min_rating is not None or rules.duplicates == "best"):
        needs = "--min-rating" if rules.min_rating is not None else "--duplicates best"
        raise DataError(f"has no ratings, which {needs} needs", where=path, remedy="name their column by --columns")
    if split_column is not None and rules.split in ("given", "all"):
        given = encoded(table[split_column], split_column, path)
        known = [LABELS.get(name.strip().lower(), -1) for name in given.values.to_pylist()]
        labels = np.array([*known, -1], dtype=np.int8)[given.codes]
        bad["split"] = labels < 0
        cells["split"] = table[split_column].filter(pa.array(bad["split"]))
        if rules.split == "all" and bad["split"].any():  # who did not ask for it loses no rows by it
            findings.note(f"--split all: column {split_column!r} is no split (it holds {cells['split'][0].as_py()!r})")
            labels, _, _ = None, bad.pop("split"), cells.pop("split")
    columns = {"user_id": user_column, "item_id": item_column}
    users, items = ids(raw, user_column), ids(raw, item_column)
    return Picked(path, raw.first_row, columns, users, items, times, ratings, labels, bad, cells)


def clean(
    picked: Picked, items: Items | None, items_file: Path | None, rules: Rules, findings: Findings
) -> tuple[Interactions, list[Step]]:
    """Drop the rows that cannot be used or that ``rules`` leave out; ``picked`` is used up.

    With ``items``, item codes are their rows. Raises ``DataError`` if no item is known, and if nothing is left.
    """
    cleaning = _Cleaning(picked, findings)
    cleaning.unusable()
    if items is not None:
        cleaning.unknown(items, items_file)
    cleaning.outside(rules)
    cleaning.repeats(rules.duplicates)
    cleaning.disliked(rules.min_rating)
    return cleaning.done()


def _refuse_untimed(rules: Rules, path: Path, timed: bool, split_column: str | None) -> None:
    given = ", or --split given for the file's own" if split_column is not None else ""
    if rules.split in NEED_TIME and not timed:
        remedy = f"use --split ratio{given}"
        raise DataError(f"has no timestamps, which --split {rules.split} needs", where=path, remedy=remedy)
    if rules.split == "given" and split_column is None:
        remedy = "add a column split with train, valid or test, or use another --split"
        raise DataError("has no column split, which --split given needs", where=path, remedy=remedy)
    for name, asked in (("--since", rules.since), ("--until", rules.until)):
        if asked is not None and not timed:
            raise DataError(f"has no timestamps, which {name} needs", where=path, remedy=f"leave out {name}")


class _Cleaning:
    """The rows that are still ``alive``, and what was told about the others."""

    def __init__(self, picked: Picked, findings: Findings) -> None:
        self.picked, self.findings = picked, findings
        self.users, self.items = picked.users.codes, picked.items.codes
        self.item_ids = np.array(picked.items.values.to_pylist(), dtype=object)
        self.alive = np.ones(len(self.users), bool)
        self.steps = Steps()
        self.steps.start(self.users, self.items, (self.users >= 0) & (self.items >= 0))

    def drop(self, kind: str, bad: np.ndarray, value: Callable[[int], object]) -> None:
        """Rows that are problems: reported one by one."""
        gone = np.flatnonzero(self.alive & bad)
        if len(gone):
            rows = self.picked.first_row + gone
            self.findings.add(kind, "dropped", self.picked.path, rows, lambda k: value(int(gone[k])))
            self._remove(kind, bad)

    def leave_out(self, kind: str, bad: np.ndarray) -> None:
        """Rows that are sound, but not asked for: a step alone."""
        self._remove(kind, bad)
        self._refuse_empty()

    def _remove(self, kind: str, bad: np.ndarray) -> None:
        self.alive &= ~bad
        self.steps.add(kind, self.users, self.items, self.alive)

    def unusable(self) -> None:
        picked = self.picked
        self.drop("empty user id", picked.users.blank(), picked.users.text)
        self.drop("empty item id", picked.items.blank(), picked.items.text)
        for role, kind in (("timestamp", "bad timestamp"), ("rating", "bad rating"), ("split", "unknown split")):
            if role in picked.bad:
                self.drop(kind, picked.bad[role], _cell(picked.bad[role], picked.cells[role]))
        if picked.times is not None:
            for kind, odd in implausible(picked.times).items():
                self.drop(kind, odd, lambda k: f"{picked.times[k]:.15g}")  # type: ignore[index]
        for role, them in (("user_id", picked.users), ("item_id", picked.items)):
            _note_odd(them.values, picked.columns[role], self.findings, picked.path)
        picked.bad, picked.cells = {}, {}
        self._refuse_empty()

    def unknown(self, items: Items, items_file: Path | None) -> None:
        """Drop the interactions with items that are not there, and take the others' rows for their codes."""
        known = pd.Index(items.ids).get_indexer(pd.Index(self.item_ids)) if len(self.item_ids) else np.empty(0)
        place = np.append(known, -1).astype(np.int32)
        mapped = place[self.items]
        if (mapped[self.alive] < 0).all():
            example = self.picked.items.text(int(np.flatnonzero(self.alive)[0]))
            source = items_file.name if items_file is not None else "the features"
            raise DataError(
                f"no item of the interactions is in {source} (for example {example!r}; there: {items.ids[0]!r})",
                where=self.picked.path,
                remedy="use the same item ids in both",
            )
        self.drop("unknown item", mapped < 0, self.picked.items.text)
        self.items, self.item_ids = mapped, items.ids

    def outside(self, rules: Rules) -> None:
        """Drop what lies before ``since`` and from ``until`` on."""
        times = self.picked.times
        if times is not None and rules.since is not None:
            self.leave_out("before --since", times < rules.since)
        if times is not None and rules.until is not None:
            self.leave_out("from --until on", times >= rules.until)

    def repeats(self, policy: str) -> None:
        picked = self.picked
        kept = kept_of_repeats(self.users, self.items, self.alive, policy, picked.times, picked.ratings)
        kind = f"same user and item again, kept {DUPLICATES[policy]}"
        if policy == "latest" and picked.times is None:
            kind = "same user and item again, kept the last row"
        self.drop(kind, ~kept, lambda k: f"user {picked.users.text(k)} item {picked.items.text(k)}")

    def disliked(self, least: float | None) -> None:
        if least is not None:
            assert self.picked.ratings is not None
            self.leave_out(f"rating below {least:g}, or none", ~(self.picked.ratings >= least))

    def done(self) -> tuple[Interactions, list[Step]]:
        """What is alive."""
        picked = self.picked
        user_ids = np.array(picked.users.values.to_pylist(), dtype=object)
        them = Interactions(
            user_ids, self.item_ids, self.users, self.items, picked.times, picked.ratings, picked.labels
        )
        del self.users, self.items, self.picked, picked
        them.keep(self.alive)
        return them, self.steps.taken

    def _refuse_empty(self) -> None:
        if not self.alive.any():
            reasons = [f"{step.step}: {step.removed}" for step in self.steps.taken[1:]]
            where, remedy = self.picked.path, "mend the file, or leave out less"
            raise DataError(f"no usable row is left ({', '.join(reasons)})", where=where, remedy=remedy)


def _cell(bad: np.ndarray, cells: pa.ChunkedArray) -> Callable[[int], object]:
    rows = np.flatnonzero(bad)
    return lambda k: cells[int(np.searchsorted(rows, k))].as_py()


def _note_odd(names: pa.Array, column: str, findings: Findings, path: Path) -> None:
    odd = pc.is_in(pc.utf8_lower(names), value_set=pa.array(_LOOKS_MISSING))
    for one in names.filter(odd).to_pylist():
        findings.note(f"{path.name}: {one!r} in column {column!r} is taken as an id")
