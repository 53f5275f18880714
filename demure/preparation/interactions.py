"""The interactions: read from the raw columns into codes and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa

from demure.data.splits import LABELS, NEED_TIME
from demure.errors import DataError
from demure.preparation.events import Events, read_events
from demure.preparation.problems import Findings
from demure.preparation.reading.columns import find_column, note_choice, require_column, role_candidates
from demure.preparation.reading.parsing import IdColumn, encode_column, read_ids, read_ratings
from demure.preparation.reading.raw_table import RawTable, RowNumbers
from demure.preparation.reading.times import TimeColumn, read_times


@dataclass
class Interactions:
    """N interactions: codes ``users``, ``items`` (N,) int32 into ``user_ids``, ``item_ids``; ``times`` (N,) seconds;
    ``ratings`` (N,); ``split`` (N,) int8 codes."""

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
        """Keep only the interactions ``kept`` (mask or positions), in place: column by column, to save memory."""
        if kept.dtype == bool and kept.all():
            return
        for name in ("users", "items", "times", "ratings", "split"):
            column = getattr(self, name)
            if column is not None:
                setattr(self, name, column[kept])


@dataclass(frozen=True)
class CleaningRules:
    """Which rows are left out.

    Attributes:
        split_strategy: of ``STRATEGIES``; "given" needs a column with the split, some others need times.
        since: seconds since 1970; earlier rows are left out.
        until: seconds since 1970; rows at this time or later are left out.
        duplicates: which of the rows of one user and item is kept, of ``DUPLICATES``.
        time_format: the notation of the times, of ``check_time_format``; recognised where None.
        events: the events that count as interactions, each with its weight or None; see ``read_events``.
        min_rating: rows with a lower rating, or without one, are left out, after duplicates: the latest rating counts.
    """

    split_strategy: str = "ratio"
    since: float | None = None
    until: float | None = None
    duplicates: str = "latest"
    min_rating: float | None = None
    time_format: str | None = None
    events: dict[str, float | None] = field(default_factory=dict)

    @property
    def need_ratings(self) -> bool:
        """Whether a row without a rating cannot be used."""
        return self.min_rating is not None or self.duplicates == "best"


@dataclass
class RawInteractions:
    """The used columns of the interactions. They are copied so that the table can be freed.

    Attributes:
        row_numbers: the numbers of the rows in the file.
        id_columns: role -> name of the column, for ``user_id`` and ``item_id``.
        times, ratings: (N,) float64, NaN where there is none.
        split: (N,) int8 split codes, -1 where unknown.
        unusable: role -> (N,) bool, the values that cannot be used.
        unusable_values: role -> these values, in the order of the rows.
    """

    path: Path
    row_numbers: RowNumbers
    id_columns: dict[str, str]
    users: IdColumn
    items: IdColumn
    times: np.ndarray | None
    ratings: np.ndarray | None
    split: np.ndarray | None
    unusable: dict[str, np.ndarray]
    unusable_values: dict[str, pa.ChunkedArray]
    events: Events | None = None


def read_interactions(raw: RawTable, rules: CleaningRules, findings: Findings) -> RawInteractions:
    """Read the columns. Raises ``DataError`` for missing ones, and for rules that need a missing column."""
    path, table = raw.path, raw.table
    user_column, item_column = (_filled_column(raw, role, findings) for role in ("user_id", "item_id"))
    time_column, rating_column, split_column = (
        find_column(raw.column_names, role, path, findings) for role in ("timestamp", "rating", "split")
    )
    times = None
    if time_column is not None:
        column = TimeColumn(table[time_column], time_column, path, raw.row_numbers)
        times = read_times(column, findings, rules.time_format)
    refuse_unmet_rules(rules, path, times is not None, split_column)
    ratings, split = None, None
    unusable: dict[str, np.ndarray] = {}
    values: dict[str, pa.ChunkedArray] = {}
    if times is not None:
        unusable["timestamp"] = np.isnan(times)
        values["timestamp"] = table[time_column].filter(pa.array(unusable["timestamp"]))
    if rating_column is not None:
        ratings, blank = read_ratings(table[rating_column], rating_column, path, findings)
        unusable["rating"] = ~np.isfinite(ratings) & ~blank
        values["rating"] = table[rating_column].filter(pa.array(unusable["rating"]))
        if unusable["rating"].any():
            ratings = np.where(unusable["rating"], np.nan, ratings)
        is_empty = blank.all() or (not rules.need_ratings and np.isnan(ratings).all())
        ratings = None if is_empty else ratings
    events = read_events(raw, rules.events, findings)
    if events is not None and events.weights is not None:
        if ratings is not None:
            raise has_ratings_already(path)
        ratings = events.weights[events.codes]
        findings.note(f"{path.name}: the weights of --events are taken as ratings")
    if ratings is None and rules.need_ratings:
        raise needs_ratings(rules, path)
    if split_column is not None and rules.split_strategy in ("given", "all"):
        names = encode_column(table[split_column], split_column, path)
        codes = [LABELS.get(name.strip().lower(), -1) for name in names.values.to_pylist()]
        split = np.array([*codes, -1], dtype=np.int8)[names.codes]
        unusable["split"] = split < 0
        values["split"] = table[split_column].filter(pa.array(unusable["split"]))
        # With --split all, a column that is not a split only loses that split, and no rows.
        if rules.split_strategy == "all" and unusable["split"].any():
            example = values["split"][0].as_py()
            findings.note(f"--split all: column {split_column!r} is not a split (it holds {example!r})")
            split, _, _ = None, unusable.pop("split"), values.pop("split")
    id_columns = {"user_id": user_column, "item_id": item_column}
    users, items = read_ids(raw, user_column), read_ids(raw, item_column)
    used = {user_column, item_column, time_column, rating_column, None if events is None else events.column}
    note_unused(raw.column_names, path, used | ({split_column} if split is not None else set()), findings)
    return RawInteractions(
        path, raw.row_numbers, id_columns, users, items, times, ratings, split, unusable, values, events
    )


def _filled_column(raw: RawTable, role: str, findings: Findings) -> str:
    """Return the column of ``role``: of several that may have it, the first that is not mostly empty."""
    candidates = role_candidates(raw.column_names, role)
    if len(candidates) < 2:
        return require_column(raw.column_names, role, raw.path, findings)
    filled = (name for name in candidates if not _is_mostly_empty(raw, name))
    column = next(filled, candidates[0])
    note_choice(column, candidates, role, raw.path, findings)
    return column


def _is_mostly_empty(raw: RawTable, column: str) -> bool:
    return bool(encode_column(raw.table[column], column, raw.path).is_blank().mean() > 0.5)


def has_ratings_already(path: Path) -> DataError:
    """Return the error for weights of events beside ratings."""
    remedy = "leave out the weights, or the column of ratings"
    return DataError("has ratings already, so --events cannot have weights", where=path, remedy=remedy)


def needs_ratings(rules: CleaningRules, path: Path) -> DataError:
    """Return the error for rules that need ratings, where these are absent."""
    option = "--min-rating" if rules.min_rating is not None else "--duplicates best"
    return DataError(f"has no ratings, which {option} needs", where=path, remedy="name their column by --columns")


def note_unused(columns: Sequence[str], path: Path, used: set[str | None], findings: Findings) -> None:
    """Note the ``columns`` of a file that are not among the ``used``."""
    unused = [name.removesuffix(", not used") for name in columns if name not in used]
    if unused:
        findings.note(f"{path.name}: columns that are not used: {', '.join(unused)}")


def refuse_unmet_rules(rules: CleaningRules, path: Path, timed: bool, split_column: str | None) -> None:
    """Raise ``DataError`` for rules that need times or a split, where these are absent."""
    instead = ", or --split given for the file's own" if split_column is not None else ""
    if rules.split_strategy in NEED_TIME and not timed:
        remedy = f"use --split ratio{instead}"
        raise DataError(f"has no timestamps, which --split {rules.split_strategy} needs", where=path, remedy=remedy)
    if rules.split_strategy == "given" and split_column is None:
        remedy = "add a column split with train, valid or test, or use another --split"
        raise DataError("has no column split, which --split given needs", where=path, remedy=remedy)
    for option, limit in (
        ("--since", rules.since),
        ("--until", rules.until),
        ("--time-format", rules.time_format),
    ):
        if limit is not None and not timed:
            raise DataError(f"has no timestamps, which {option} needs", where=path, remedy=f"leave out {option}")
