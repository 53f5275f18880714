"""The interactions cleaned step by step; every dropped row is reported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from demure.errors import DataError
from demure.preparation.duplicates import DUPLICATES, keep_one_of_duplicates
from demure.preparation.interactions import CleaningRules, Interactions, RawInteractions
from demure.preparation.items import Items
from demure.preparation.odd_ids import note_odd_ids
from demure.preparation.problems import Findings
from demure.preparation.reading.times import implausible_times, show_time
from demure.preparation.steps import CleaningStep, CleaningSteps


def clean_interactions(
    raw: RawInteractions, items: Items | None, items_file: Path | None, rules: CleaningRules, findings: Findings
) -> tuple[Interactions, list[CleaningStep]]:
    """Drop the rows that cannot be used or that ``rules`` leave out; ``raw`` is used up.

    Raises ``DataError`` if no row is left, or if no item is one of ``items``.
    """
    cleaning = _Cleaning(raw, findings)
    cleaning.drop_unusable(need_ratings=rules.need_ratings)
    cleaning.leave_out_events()
    if items is not None:
        cleaning.drop_unknown_items(items, items_file)
    cleaning.leave_out_times(rules)
    cleaning.drop_duplicates(rules.duplicates)
    cleaning.leave_out_ratings(rules.min_rating)
    return cleaning.result()


class _Cleaning:
    """The rows, of which ``kept`` (N,) bool are left."""

    def __init__(self, raw: RawInteractions, findings: Findings) -> None:
        self.raw, self.findings = raw, findings
        self.users, self.items = raw.users.codes, raw.items.codes
        self.item_ids = np.array(raw.items.values.to_pylist(), dtype=object)
        self.kept = np.ones(len(self.users), bool)
        self.steps = CleaningSteps()
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
        self._refuse_empty()

    def _remove(self, kind: str, removed: np.ndarray) -> None:
        self.kept &= ~removed
        self.steps.add(kind, self.users, self.items, self.kept)

    def drop_unusable(self, *, need_ratings: bool) -> None:
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
            for kind, implausible, is_dropped in implausible_times(times):
                if is_dropped:
                    self._drop(kind, implausible, lambda row: f"{times[row]:.15g}")
                else:
                    self._report(kind, implausible, lambda row: show_time(times[row]))
        for role, ids in (("user_id", raw.users), ("item_id", raw.items)):
            note_odd_ids(ids.values, raw.id_columns[role], raw.path, self.findings)
        raw.unusable, raw.unusable_values = {}, {}
        self._refuse_empty()

    def drop_unknown_items(self, items: Items, items_file: Path | None) -> None:
        """Drop the interactions with items that are not in ``items``, and number the others by ``items``."""
        positions = pd.Index(items.ids).get_indexer(pd.Index(self.item_ids)) if len(self.item_ids) else np.empty(0)
        codes = np.append(positions, -1).astype(np.int32)[self.items]
        if (codes[self.kept] < 0).all():
            example = self.raw.items.text(int(np.flatnonzero(self.kept)[0]))
            source = items_file.name if items_file is not None else "the features"
            raise DataError(
                f"no item of the interactions is in {source} (for example {example!r}; there: {items.ids[0]!r})",
                where=self.raw.path,
                remedy="use the same item ids in both",
            )
        self._drop("unknown item", codes < 0, self.raw.items.text)
        self.items, self.item_ids = codes, items.ids

    def leave_out_events(self) -> None:
        """Leave out the rows whose event does not count as an interaction."""
        events = self.raw.events
        if events is not None and not events.is_counted.all():
            excluded = ~events.is_counted[events.codes]
            if excluded.any():
                names = [events.names[k] or "(blank)" for k in np.unique(events.codes[excluded])]
                shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
                self._leave_out(f"{events.column} {shown}: not an interaction", excluded)
        self.raw.events = None

    def leave_out_times(self, rules: CleaningRules) -> None:
        """Leave out the rows before ``since``, and from ``until`` on."""
        times = self.raw.times
        if times is not None and rules.since is not None:
            self._leave_out("before --since", times < rules.since)
        if times is not None and rules.until is not None:
            self._leave_out("from --until on", times >= rules.until)

    def drop_duplicates(self, policy: str) -> None:
        """Keep one row of each user and item."""
        raw = self.raw
        kept = keep_one_of_duplicates(self.users, self.items, self.kept, policy, raw.times, raw.ratings)
        kind = f"same user and item again, kept {DUPLICATES[policy]}"
        if policy == "latest" and raw.times is None:
            kind = "same user and item again, kept the last row"
        self._drop(kind, ~kept, lambda row: f"user {raw.users.text(row)} item {raw.items.text(row)}")

    def leave_out_ratings(self, min_rating: float | None) -> None:
        """Leave out the rows rated below ``min_rating``, and those without a rating."""
        if min_rating is not None:
            assert self.raw.ratings is not None
            self._leave_out(f"rating below {min_rating:g}, or none", ~(self.raw.ratings >= min_rating))

    def result(self) -> tuple[Interactions, list[CleaningStep]]:
        """Return the rows that are left; this object is used up."""
        raw = self.raw
        user_ids = np.array(raw.users.values.to_pylist(), dtype=object)
        interactions = Interactions(user_ids, self.item_ids, self.users, self.items, raw.times, raw.ratings, raw.split)
        del self.users, self.items, self.raw, raw  # so that each column is freed when the kept part is taken
        interactions.keep(self.kept)
        return interactions, self.steps.steps

    def _refuse_empty(self) -> None:
        if not self.kept.any():
            reasons = [f"{step.step}: {step.removed}" for step in self.steps.steps[1:]]
            where, remedy = self.raw.path, "mend the file, or leave out less"
            raise DataError(f"no usable row is left ({', '.join(reasons)})", where=where, remedy=remedy)


def _value_of(mask: np.ndarray, values: pa.ChunkedArray) -> Callable[[int], object]:
    """Return a function row -> its value; ``values`` has those of the rows in ``mask`` only."""
    rows = np.flatnonzero(mask)
    return lambda row: values[int(np.searchsorted(rows, row))].as_py()
