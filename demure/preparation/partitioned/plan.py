"""What the whole log decides about its columns, so that each part can be read alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from demure.cluster.executor import Executor
from demure.errors import DataError
from demure.preparation.cleaning import BEFORE_SINCE, FROM_UNTIL, UNKNOWN_ITEM, duplicate_kind, low_rating_kind
from demure.preparation.events import Events, choose_events
from demure.preparation.interactions import (
    CleaningRules,
    RawInteractions,
    has_ratings_already,
    needs_ratings,
    note_unused,
    refuse_unmet_rules,
)
from demure.preparation.partitioned.log import Log, lists_in_parts
from demure.preparation.partitioned.order_statistics import Borders
from demure.preparation.partitioned.summaries import (
    ColumnTask,
    PartProfile,
    Profile,
    RatingProfile,
    Summary,
    common_notation,
    split_codes,
)
from demure.preparation.partitioned.time_notation import TimeNotation, decide_calendar, open_order
from demure.preparation.problems import Findings
from demure.preparation.reading.columns import find_column, note_choice, require_column, role_candidates
from demure.preparation.reading.lists import may_have_lists
from demure.preparation.reading.numeric_times import CALENDARS, read_in_units
from demure.preparation.reading.parsing import (
    IdColumn,
    encode_column,
    read_ids,
    read_ratings,
)
from demure.preparation.reading.raw_table import RawTable
from demure.preparation.reading.times import (
    EARLIEST,
    FUTURE,
    ImplausibleTimes,
    beyond_2100,
    implausible_times,
    is_stamps,
    latest_plausible,
    no_time,
    note_notation,
    note_range,
    note_unit,
)

_MOST_VALUES = 100_000  # distinct events; a column with more has something else


@dataclass(frozen=True)
class EventPlan:
    """The distinct ``texts`` of the column of events, and the ``events`` by code, without the codes of rows."""

    texts: list[str]
    events: Events
    step: str | None


@dataclass(frozen=True)
class ColumnPlan:
    """How each part of the log is read.

    Attributes:
        id_columns: role -> column; ``as_text``: those of floats that are not all whole.
        odd_times: see ``implausible_times``.
        kinds: the steps that remove rows, in order, by name; the number of the first is 0.
    """

    id_columns: dict[str, str]
    as_text: frozenset[str]
    times: TimeNotation | None
    odd_times: list[ImplausibleTimes]
    rating: RatingProfile | None
    events: EventPlan | None
    split: str | None
    rules: CleaningRules
    kinds: list[str] = field(default_factory=list)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        names = [*self.id_columns.values(), self.split]
        names += [part.name for part in (self.times, self.rating) if part is not None]
        names += [] if self.events is None else [self.events.events.column]
        return tuple(dict.fromkeys(name for name in names if name is not None))

    def read(self, raw: RawTable, findings: Findings) -> RawInteractions:
        """Return the interactions of a part, as ``read_interactions`` those of a file."""
        table = raw.table
        unusable: dict[str, np.ndarray] = {}
        values: dict[str, pa.ChunkedArray] = {}

        def mark(role: str, name: str, mask: np.ndarray) -> None:
            unusable[role], values[role] = mask, table[name].filter(pa.array(mask))

        times = ratings = split = events = None
        if self.times is not None:
            times = self.times.read(raw, findings)
            mark("timestamp", self.times.name, np.isnan(times))
        if self.rating is not None:
            name = self.rating.name
            ratings, blank = read_ratings(table[name], name, raw.path, Findings(), self.rating.numbers)
            mark("rating", name, ~np.isfinite(ratings) & ~blank)
            ratings = np.where(unusable["rating"], np.nan, ratings) if self.rating.is_used else None
        if self.events is not None:
            events = self._events(raw, self.events)
            if events.weights is not None:
                ratings = events.weights[events.codes]
        if self.split is not None:
            split = split_codes(raw, self.split)
            mark("split", self.split, split < 0)
        users, items = (self._ids(raw, name) for name in self.id_columns.values())
        return RawInteractions(
            raw.path, raw.row_numbers, self.id_columns, users, items, times, ratings, split, unusable, values, events
        )

    def _ids(self, raw: RawTable, name: str) -> IdColumn:
        column = raw.table[name]
        if name in self.as_text:
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column).cast(pa.string())
        ids = read_ids(replace(raw, table=pa.table({name: column})), name)
        if may_have_lists(pa.chunked_array([ids.values])):
            raise lists_in_parts(raw.path, name)
        return ids

    def _events(self, raw: RawTable, plan: EventPlan) -> Events:
        encoded = encode_column(raw.table[plan.events.column], plan.events.column, raw.path)
        places = pc.index_in(encoded.values, value_set=pa.array(plan.texts, pa.string()))
        codes = np.append(pc.fill_null(places, 0).to_numpy(zero_copy_only=False), len(plan.texts)).astype(np.int32)
        return replace(plan.events, codes=codes[encoded.codes])


def plan_columns(
    log: Log, rules: CleaningRules, wanted: dict[str, float | None], executor: Executor, findings: Findings
) -> ColumnPlan:
    """Return how the parts are read, with the notes of ``read_interactions``. Raises ``DataError`` as that does."""
    path, names = log.path, log.column_names
    candidates = {role: role_candidates(names, role) or [""] for role in ("user_id", "item_id")}
    for role, columns in candidates.items():
        if columns == [""]:
            require_column(names, role, path, findings)
    silent_findings = Findings()
    event = find_column(names, "event", path, silent_findings)
    time, rating, split = (find_column(names, role, path, silent_findings) for role in ("timestamp", "rating", "split"))
    read_split = split if rules.split_strategy in ("given", "all") else None
    several = {name for columns in candidates.values() if len(columns) > 1 for name in columns}
    ids = [name for columns in candidates.values() for name in columns]
    decided = (name for name in ids if name in several or pa.types.is_floating(log.type_of(name)))
    profile = Profile(tuple(decided), time, rating, event, read_split)
    planner = _Planner(
        log, executor, findings, list(executor.map(ColumnTask(log.folder, log, profile.columns, profile), log.parts))
    )
    id_columns = {role: planner.filled_column(role, columns) for role, columns in candidates.items()}
    for role in ("timestamp", "rating", "split"):
        find_column(names, role, path, findings)
    times, odd_times = planner.times(time, rules)
    refuse_unmet_rules(rules, path, times is not None, split)
    ratings = planner.ratings(rating, rules)
    has_ratings = ratings is not None and ratings.is_used
    events = planner.events(event, wanted)
    if events is not None and events.events.weights is not None:
        if has_ratings:
            raise has_ratings_already(path)
        findings.note(f"{path.name}: the weights of --events are taken as ratings")
    elif not has_ratings and rules.need_ratings:
        raise needs_ratings(rules, path)
    used_split = planner.split(read_split, rules)
    used = {*id_columns.values(), time, rating, None if events is None else events.events.column, used_split}
    note_unused(log.column_names, path, used, findings)
    kinds = ["empty user id", "empty item id", "bad timestamp", "bad rating", "unknown split"]
    kinds += [odd.kind for odd in odd_times if odd.is_dropped]
    kinds += [events.step] if events is not None and events.step is not None else []
    kinds += [UNKNOWN_ITEM, BEFORE_SINCE, FROM_UNTIL, duplicate_kind(rules.duplicates, timed=times is not None)]
    kinds += [] if rules.min_rating is None else [low_rating_kind(rules.min_rating)]
    return ColumnPlan(
        id_columns, planner.as_text(id_columns), times, odd_times, ratings, events, used_split, rules, kinds
    )


class _Planner:
    """The decisions, by the profiles of all parts."""

    def __init__(self, log: Log, executor: Executor, findings: Findings, profiles: list[PartProfile]) -> None:
        self.log, self.findings, self._executor, self._profiles = log, findings, executor, profiles
        self.path = log.path

    def _sum_up(self, summary: Summary, column: str) -> list[Any]:
        return list(self._executor.map(ColumnTask(self.log.folder, self.log, (column,), summary), self.log.parts))

    def filled_column(self, role: str, candidates: list[str]) -> str:
        """Return the first of the ``candidates`` that is not mostly blank, as for a whole file."""
        if len(candidates) < 2:
            return require_column(self.log.column_names, role, self.path, self.findings)
        blank = {name: sum(profile.blank[name] for profile in self._profiles) for name in candidates}
        column = next((name for name in candidates if blank[name] / self.log.rows <= 0.5), candidates[0])
        note_choice(column, candidates, role, self.path, self.findings)
        return column

    def as_text(self, id_columns: dict[str, str]) -> frozenset[str]:
        """Return the columns of ids that are floats with fractions."""
        names = (name for name in id_columns.values() if name in self._profiles[0].whole)
        return frozenset(name for name in names if not all(profile.whole[name] for profile in self._profiles))

    def times(self, name: str | None, rules: CleaningRules) -> tuple[TimeNotation | None, list[ImplausibleTimes]]:
        """Return how the times are read, and which are odd; as ``read_times``."""
        if name is None:
            return None, []
        path, findings, time_format = self.path, self.findings, rules.time_format
        notation = TimeNotation(
            name, latest_plausible(), time_format, common_notation([p.time for p in self._profiles])
        )
        n_values = sum(profile.n_times for profile in self._profiles)
        kind = self.log.type_of(name)
        if is_stamps(kind) and time_format is not None:
            findings.note(f"{path.name}: column {name!r} is of type {kind}: --time-format is not used")
        if not n_values:
            findings.note(f"{path.name}: column {name!r} is empty, so there are no timestamps")
            return None, []
        notation, borders = self._number_times(notation, is_stamps=is_stamps(kind))
        if not is_stamps(kind):
            texts = self._sum_up(notation.text_times, name)
            named = next((part.named for part in texts if part.named is not None), None)
            if named is not None:
                note_notation(path, name, "dates with names of months", named.shown, named.seconds, findings)
            open_date = next((part.open_date for part in texts if part.open_date is not None), None)
            if open_date is not None:
                raise open_order(notation, open_date, path)
            borders = Borders.together([borders, *(part.borders for part in texts)])
        if not borders.n:
            first = next(profile.first_time for profile in self._profiles if profile.first_time is not None)
            raise no_time(path, name, first, time_format)
        median = borders.median()
        if not EARLIEST <= median <= notation.latest:
            if median > FUTURE and time_format is None:
                raise self._beyond_2100(notation)
            note_range(path, name, borders.least, borders.most, findings, time_format)
        return notation, implausible_times(median, notation.latest)

    def _number_times(self, notation: TimeNotation, *, is_stamps: bool) -> tuple[TimeNotation, Borders]:
        """Return the notation with the unit or the calendar of the numbers, and where their times lie."""
        name, decides = notation.name, notation.time_format is None and not is_stamps
        if decides:
            magnitudes = Borders.together(self._sum_up(notation.magnitudes, name))
            if not magnitudes.n:
                return notation, Borders.of(np.empty(0), notation.thresholds)
            notation = replace(notation, median=magnitudes.median())
        borders = Borders.together(self._sum_up(notation.number_times, name))
        if not decides:
            return notation, borders
        if not EARLIEST <= borders.median() <= notation.latest:
            counts = self._sum_up(notation.calendars, name)
            notation, example = decide_calendar(notation, counts, magnitudes.n, str(self.path))
            if notation.calendar is not None and example is not None:
                described = CALENDARS[notation.calendar][0]
                note_notation(self.path, name, described, example.shown, example.seconds, self.findings)
                return notation, Borders.together(self._sum_up(notation.number_times, name))
        note_unit(self.path, read_in_units(np.array([np.nan]), notation.median)[1], self.findings)
        return notation, borders

    def _beyond_2100(self, notation: TimeNotation) -> DataError:
        for part in self.log.parts:
            raw = self.log.read(part, [notation.name])
            seconds = notation.read(raw, Findings())
            if (seconds > FUTURE).any():
                return beyond_2100(notation.column(raw), seconds)
        raise AssertionError("half of the times are later")

    def ratings(self, name: str | None, rules: CleaningRules) -> RatingProfile | None:
        """Return how the ratings are read; None without a column of them."""
        if name is None:
            return None
        profile = RatingProfile(name, common_notation([part.rating for part in self._profiles]))
        parts = self._sum_up(profile, name)
        for beginning in ("true and yes", "has decimal"):
            notes = (note for *_, notes in parts for note in notes if beginning in note)
            first = next(notes, None)
            if first is not None:
                self.findings.note(first)
        rows, blank, n_numbers = (sum(part[k] for part in parts) for k in range(3))
        is_empty = blank == rows or (not rules.need_ratings and not n_numbers)
        return replace(profile, is_used=not is_empty)

    def events(self, name: str | None, wanted: dict[str, float | None]) -> EventPlan | None:
        """Return the events; as ``read_events``."""
        if name is None:
            if wanted:
                remedy = "name its column by --columns event=NAME"
                raise DataError("has no column of events, which --events needs", where=self.path, remedy=remedy)
            return None
        counts: Counter[str] = Counter()
        n_missing = 0
        for profile in self._profiles:
            assert profile.events is not None
            counts.update(profile.events.counts)
            n_missing += profile.events.n_missing
            if len(counts) > _MOST_VALUES:
                problem = f"column {name!r} has more than {_MOST_VALUES:,} different values, and may be of events"
                remedy = "name the column of events by --columns event=NAME, or leave --on out"
                raise DataError(problem, where=self.path, remedy=remedy)
        texts = list(counts)
        numbers = np.array([*counts.values(), n_missing])
        events = choose_events(name, texts, numbers, self.path, wanted, self.findings)
        if events is None:
            return None
        is_left_out = bool((numbers[~events.is_counted] > 0).any())
        return EventPlan(texts, events, events.step_name(numbers) if is_left_out else None)

    def split(self, name: str | None, rules: CleaningRules) -> str | None:
        """Return the column of the split, if it is used."""
        if name is None:
            return None
        unknown = [part.split.first_unknown for part in self._profiles if part.split is not None]
        first = next((value for is_unknown, value in unknown if is_unknown), None)
        if rules.split_strategy == "all" and any(is_unknown for is_unknown, _ in unknown):
            self.findings.note(f"--split all: column {name!r} is not a split (it holds {first!r})")
            return None
        return name
