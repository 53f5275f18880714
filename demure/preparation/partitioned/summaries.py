"""Summaries of the columns of a part of a log; those of all parts decide how each is read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from demure.data.splits import LABELS
from demure.preparation.partitioned.batch_files import FolderTask
from demure.preparation.partitioned.log import Log, LogPart
from demure.preparation.problems import Findings
from demure.preparation.reading.parsing import (
    NumberNotation,
    encode_column,
    is_blank,
    is_numeric,
    is_plain,
    may_be_thousands,
    read_numbers,
    read_ratings,
    single_commas,
    to_text,
)
from demure.preparation.reading.raw_table import RawTable
from demure.preparation.reading.times import (
    is_stamps,
    seconds_of_stamps,
)
from demure.progress import Listener

Summary = Callable[[RawTable], Any]


@dataclass(frozen=True)
class ColumnTask(FolderTask[LogPart, Any]):
    """Sums up ``columns`` of each part of the log by ``summary``, which travels."""

    folder: Path
    log: Log
    columns: tuple[str, ...]
    summary: Summary

    def work(self, part: LogPart, listener: Listener) -> Any:
        return self.summary(self.log.read(part, self.columns))


@dataclass(frozen=True)
class Values:
    """The distinct texts of a part in order of appearance with their numbers of rows, and the rows without a value.

    ``first_unknown``: the first value that is not the name of a split, as the file has it, and whether there is one.
    """

    counts: dict[str, int]
    n_missing: int
    first_unknown: tuple[bool, object] = (False, None)


@dataclass(frozen=True)
class NumberTexts:
    """What the texts of a part decide about their notation as numbers; see ``NumberNotation``."""

    is_plain: bool
    may_be_thousands: bool

    @classmethod
    def of(cls, column: pa.ChunkedArray, raw: RawTable, name: str) -> NumberTexts | None:
        """Return them, or None for a column of numbers or times."""
        if is_numeric(column.type) or is_stamps(column.type):
            return None
        texts = to_text(column.cast(pa.string()) if pa.types.is_boolean(column.type) else column, name, raw.path)
        plain = is_plain(texts)
        return cls(plain, plain or may_be_thousands(texts, single_commas(texts)))


def common_notation(parts: Sequence[NumberTexts | None]) -> NumberNotation | None:
    texts = [part for part in parts if part is not None]
    if not texts:
        return None
    plain = all(part.is_plain for part in texts)
    return NumberNotation(plain, not plain and not all(part.may_be_thousands for part in texts))


@dataclass(frozen=True)
class PartProfile:
    """The first summary of a part: ``blank`` ids and ``whole`` floats by column, and the values of the other columns.

    ``first_time``: the first time that is not blank, as the file has it; ``n_times`` how many there are.
    """

    rows: int
    blank: dict[str, int]
    whole: dict[str, bool]
    time: NumberTexts | None
    n_times: int
    first_time: str | None
    rating: NumberTexts | None
    events: Values | None
    split: Values | None


@dataclass(frozen=True)
class Profile:
    """Sums up a part; the fields are names of columns, ``ids`` those about which all values decide."""

    ids: tuple[str, ...]
    time: str | None
    rating: str | None
    event: str | None
    split: str | None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        names = (*self.ids, self.time, self.rating, self.event, self.split)
        return tuple(dict.fromkeys(name for name in names if name is not None))

    def __call__(self, raw: RawTable) -> PartProfile:
        """Return the profile."""
        table = raw.table
        time_texts, n_times, first_time = None, 0, None
        if self.time is not None:
            column = table[self.time]
            time_texts = NumberTexts.of(column, raw, self.time)
            if is_stamps(column.type):
                present = ~np.isnan(seconds_of_stamps(column))
            elif is_numeric(column.type):
                present = ~read_numbers(column, self.time, raw.path)[1]
            else:
                present = ~is_blank(to_text(column, self.time, raw.path))
            n_times = int(np.count_nonzero(present))
            first_time = str(column[int(np.argmax(present))].as_py())[:60] if n_times else None
        return PartProfile(
            rows=table.num_rows,
            blank={name: int(encode_column(table[name], name, raw.path).is_blank().sum()) for name in self.ids},
            whole={name: _is_whole(table[name]) for name in self.ids if pa.types.is_floating(table[name].type)},
            time=time_texts,
            n_times=n_times,
            first_time=first_time,
            rating=None if self.rating is None else NumberTexts.of(table[self.rating], raw, self.rating),
            events=None if self.event is None else _values(raw, self.event),
            split=None if self.split is None else _split_values(raw, self.split),
        )


def _is_whole(column: pa.ChunkedArray) -> bool:
    wide = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column).cast(pa.float64())
    is_whole = pc.all(pc.and_(pc.equal(wide, pc.round(wide)), pc.less(pc.abs(wide), 2**53))).as_py()
    return is_whole is not False


def _values(raw: RawTable, name: str) -> Values:
    encoded = encode_column(raw.table[name], name, raw.path)
    numbers = np.bincount(encoded.codes + 1, minlength=len(encoded.values) + 1)
    return Values(dict(zip(encoded.values.to_pylist(), numbers[1:].tolist(), strict=True)), int(numbers[0]))


def _split_values(raw: RawTable, name: str) -> Values:
    unknown = np.flatnonzero(split_codes(raw, name) < 0)
    first = (True, raw.table[name][int(unknown[0])].as_py()) if len(unknown) else (False, None)
    return replace(_values(raw, name), first_unknown=first)


def split_codes(raw: RawTable, name: str) -> np.ndarray:
    """Return the split codes (N,) int8 of a column, -1 where unknown."""
    names = encode_column(raw.table[name], name, raw.path)
    labels = [LABELS.get(text.strip().lower(), -1) for text in names.values.to_pylist()]
    codes: np.ndarray = np.array([*labels, -1], dtype=np.int8)[names.codes]
    return codes


@dataclass(frozen=True)
class RatingProfile:
    """Sums up the ratings of a part: all values, the blank ones, and the numbers; and the notes.

    ``is_used``: whether the column has ratings, or only values that are reported.
    """

    name: str
    numbers: NumberNotation | None
    is_used: bool = True

    def __call__(self, raw: RawTable) -> tuple[int, int, int, list[str]]:
        findings = Findings()
        ratings, blank = read_ratings(raw.table[self.name], self.name, raw.path, findings, self.numbers)
        n_numbers = int(np.count_nonzero(np.isfinite(ratings)))
        return len(ratings), int(np.count_nonzero(blank)), n_numbers, findings.notes
