"""The interactions cleaned step by step; every dropped row is reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from demure.errors import DataError
from demure.preparation.duplicates import DUPLICATES, keep_one_of_duplicates
from demure.preparation.interactions import CleaningRules, Interactions, RawInteractions
from demure.preparation.items import Items
from demure.preparation.odd_ids import OddIds, note_odd_ids, sample_step
from demure.preparation.problems import Findings
from demure.preparation.reading.times import ImplausibleTimes, implausible_times, latest_plausible, show_time
from demure.preparation.steps import CleaningStep, CleaningSteps


def clean_interactions(
    raw: RawInteractions, items: Items | None, items_file: Path | None, rules: CleaningRules, findings: Findings
) -> tuple[Interactions, list[CleaningStep]]:
    """Drop the rows that cannot be used or that ``rules`` leave out; ``raw`` is used up.

    Raises ``DataError`` if no row is left, or if no item is one of ``items``.
    """
    odd_times = [] if raw.times is None else implausible_times(float(np.nanmedian(raw.times)), latest_plausible())
    cleaning = Cleaning(raw, findings, CleaningSteps())
    cleaning.drop_unusable(odd_times, need_ratings=rules.need_ratings)
    for role, ids in (("user_id", raw.users), ("item_id", raw.items)):
        odd = OddIds.among(ids.values, np.arange(len(ids.values)))
        sample = ids.values[:: sample_step(len(ids.values))].to_pylist()
        note_odd_ids([odd], sample, raw.id_columns[role], raw.path, findings)
    cleaning.refuse_empty()
    cleaning.leave_out_events()
    if items is not None:
        cleaning.drop_unknown_items(items, items_file)
    cleaning.leave_out_times(rules)
    cleaning.drop_duplicates(rules.duplicates)
    cleaning.leave_out_ratings(rules.min_rating)
    return cleaning.result()


class StepRecorder(Protocol):
    """Records which rows are left after each step; the arguments are those of ``CleaningSteps``."""

    steps: list[CleaningStep]

    def start(self, users: np.ndarray, items: np.ndarray, kept: np.ndarray) -> None: ...

    def add(self, name: str, users: np.ndarray, items: np.ndarray, kept: np.ndarray | None = None) -> None: ...


class Cleaning:
    """The rows, of which ``kept`` (N,) bool are left; of a file ``is_part`` of a log, none may be left."""

    def __init__(self, raw: RawInteractions, findings: Findings, steps: StepRecorder, *, is_part: bool = False) -> None:
        self.raw, self.findings, self.steps, self._is_part = raw, findings, steps, is_part
        self.users, self.items = raw.users.codes, raw.items.codes
        self._item_ids: np.ndarray | None = None  # where these are not the ids of the interactions
        self.kept = np.ones(len(self.users), bool)
        self.steps.start(self.users, self.items, (self.users >= 0) & (self.items >= 0))

    def _drop(self, kind: str, bad: np.ndarray, value: Callable[[int], object]) -> None:
        """Drop rows that are problems; each is reported, with its ``value(row)``."""
        dropped = np.flatnonzero(self.kept & bad)
        if len(dropped):
            rows = self.raw.row_numbers.of(dropped)
            self.findings.add(kind, "dropped", self.raw.path, rows, lambda k: value(int(dropped[k])))
            self._remove(kind, bad)

    def _report(self, kind: str, odd: np.ndarray, value: Callable[[int], object], action: str = "kept") -> None:
        """Report rows that are odd but kept, each with its ``value(row)``."""
        rows = np.flatnonzero(self.kept & odd)
        self.findings.add(kind, action, self.raw.path, self.raw.row_numbers.of(rows), lambda k: value(int(rows[k])))

    def _leave_out(self, kind: str, excluded: np.ndarray) -> None:
        """Remove rows that are valid but not wanted; only the step is recorded."""
        self._remove(kind, excluded)
        self.refuse_empty()

    def _remove(self, kind: str, removed: np.ndarray) -> None:
        self.kept &= ~removed
        self.steps.add(kind, self.users, self.items, self.kept)

    def drop_unusable(self, odd_times: Sequence[ImplausibleTimes], *, need_ratings: bool) -> None:
        """Drop rows without user or item, and with a time or split that cannot be used, or a rating that is needed."""
        raw = self.raw
        self._drop("empty user id", raw.users.is_blank(), raw.users.text)
        self._drop("empty item id", raw.items.is_blank(), raw.items.text)
        for role, kind in (("timestamp", "bad timestamp"), ("rating", "bad rating"), ("split", "unknown split")):
            if role not in raw.unusable:
                continue
            value = _value_of(raw.unusable[role], raw.unusable_values[role])
            if role != "rating" or need_ratings:
                self._drop(kind, raw.unusable[role], value)
            else:
                self._report(kind, raw.unusable[role], value, "kept without rating")
        times = raw.times
        if times is not None:
            for odd in odd_times:
                if odd.is_dropped:
                    self._drop(odd.kind, odd.among(times), lambda row: f"{times[row]:.15g}")
                else:
                    self._report(odd.kind, odd.among(times), lambda row: show_time(times[row]))
        raw.unusable, raw.unusable_values = {}, {}

    def drop_unknown_items(self, items: Items, items_file: Path | None) -> None:
        """Drop the interactions with items that are not in ``items``, and number the others by ``items``."""
        positions = positions_in(items.ids, np.array(self.raw.items.values.to_pylist(), dtype=object))
        codes = np.append(positions, -1).astype(np.int32)[self.items]
        if (codes[self.kept] < 0).all():
            example = self.raw.items.text(int(np.flatnonzero(self.kept)[0]))
            raise no_common_item(self.raw.path, example, items, items_file)
        self._drop(UNKNOWN_ITEM, codes < 0, self.raw.items.text)
        self.items, self._item_ids = codes, items.ids

    def leave_out_events(self, step: str | None = None) -> None:
        """Leave out the rows whose event does not count as an interaction; ``step``: its name, for a part."""
        events = self.raw.events
        if events is not None and not events.is_counted.all():
            excluded = ~events.is_counted[events.codes]
            if excluded.any():
                counts = np.bincount(events.codes, minlength=len(events.names))
                self._leave_out(step or events.step_name(counts), excluded)
        self.raw.events = None

    def leave_out_times(self, rules: CleaningRules) -> None:
        """Leave out the rows before ``since``, and from ``until`` on."""
        times = self.raw.times
        if times is not None and rules.since is not None:
            self._leave_out(BEFORE_SINCE, times < rules.since)
        if times is not None and rules.until is not None:
            self._leave_out(FROM_UNTIL, times >= rules.until)

    def drop_duplicates(self, policy: str) -> None:
        """Keep one row of each user and item."""
        raw = self.raw
        kept = keep_one_of_duplicates(self.users, self.items, self.kept, policy, raw.times, raw.ratings)
        self._drop(
            duplicate_kind(policy, timed=raw.times is not None),
            ~kept,
            lambda row: f"user {raw.users.text(row)} item {raw.items.text(row)}",
        )

    def leave_out_ratings(self, min_rating: float | None) -> None:
        """Leave out the rows rated below ``min_rating``, and those without a rating."""
        if min_rating is not None:
            assert self.raw.ratings is not None
            self._leave_out(low_rating_kind(min_rating), ~(self.raw.ratings >= min_rating))

    def result(self) -> tuple[Interactions, list[CleaningStep]]:
        """Return the rows that are left; this object is used up."""
        raw = self.raw
        user_ids = np.array(raw.users.values.to_pylist(), dtype=object)
        item_ids = (
            self._item_ids if self._item_ids is not None else np.array(raw.items.values.to_pylist(), dtype=object)
        )
        interactions = Interactions(user_ids, item_ids, self.users, self.items, raw.times, raw.ratings, raw.split)
        del self.users, self.items, self.raw, raw  # so that each column is freed when the kept part is taken
        interactions.keep(self.kept)
        return interactions, self.steps.steps

    def refuse_empty(self) -> None:
        """Raise ``DataError`` if no row is left."""
        if not self._is_part and not self.kept.any():
            raise no_row_left(self.raw.path, self.steps.steps)


BEFORE_SINCE, FROM_UNTIL, UNKNOWN_ITEM = "before --since", "from --until on", "unknown item"


def duplicate_kind(policy: str, *, timed: bool) -> str:
    """Return the name of the step that drops duplicates."""
    if policy == "latest" and not timed:
        return "same user and item again, kept the last row"
    return f"same user and item again, kept {DUPLICATES[policy]}"


def low_rating_kind(min_rating: float) -> str:
    """Return the name of the step that leaves out low ratings."""
    return f"rating below {min_rating:g}, or none"


def no_row_left(path: Path, steps: Sequence[CleaningStep]) -> DataError:
    """Return the error for a file of which the ``steps`` leave no row."""
    reasons = ", ".join(f"{step.step}: {step.removed}" for step in steps[1:])
    return DataError(f"no usable row is left ({reasons})", where=path, remedy="mend the file, or leave out less")


def no_common_item(path: Path, example: str | None, items: Items, items_file: Path | None) -> DataError:
    """Return the error for interactions with other items than ``items``; ``example``: an id of the interactions."""
    source = items_file.name if items_file is not None else "the features"
    return DataError(
        f"no item of the interactions is in {source} (for example {example!r}; there: {items.ids[0]!r})",
        where=path,
        remedy="use the same item ids in both",
    )


def positions_in(ids: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the positions (n,) of the ``wanted`` ids (n,) in ``ids``, which are distinct; -1 for others."""
    positions: np.ndarray = pd.Index(ids).get_indexer(pd.Index(wanted)) if len(wanted) else np.empty(0)
    return positions


def _value_of(mask: np.ndarray, values: pa.ChunkedArray) -> Callable[[int], object]:
    """Return a function row -> its value; ``values`` has those of the rows in ``mask`` only."""
    rows = np.flatnonzero(mask)
    return lambda row: values[int(np.searchsorted(rows, row))].as_py()
