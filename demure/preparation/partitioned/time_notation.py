"""The notation of a column of times that lies in parts: what ``reading.times`` decides from the whole column.

The parts are summed up, the sums decide, and each part is then read by the decision. One notation is not decided here:
dates of three numbers without ``--time-format``, whose order all values together would show.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from demure.errors import DataError
from demure.preparation.partitioned.order_statistics import Borders
from demure.preparation.problems import Findings
from demure.preparation.reading.dates import ORDERS, parse_by_pattern, parse_iso, parse_month_names, parse_orders
from demure.preparation.reading.numeric_times import CALENDARS, LEAST, dates_by_order, read_in_units
from demure.preparation.reading.parsing import NumberNotation, is_numeric, read_numbers
from demure.preparation.reading.raw_table import RawTable
from demure.preparation.reading.times import (
    EARLIEST,
    FUTURE,
    TimeColumn,
    add_odd_units,
    is_stamps,
    read_stated,
    seconds_of_stamps,
)

MOST = 0.95  # share of the numbers for which a calendar must give plausible times, as in ``reading.times``


@dataclass(frozen=True)
class Example:
    """A value as the file has it, and its time in seconds since 1970."""

    shown: str
    seconds: float


@dataclass(frozen=True)
class TextTimes:
    """The values of a part that are times but not numbers.

    Attributes:
        borders: of their seconds; ``named``: the first with the name of a month.
        open_date: the first date of three numbers, where no format is stated.
    """

    borders: Borders
    named: Example | None
    open_date: str | None


@dataclass(frozen=True)
class TimeNotation:
    """How the column ``name`` is read, row by row.

    Attributes:
        latest: the latest plausible time, seconds since 1970.
        time_format: of ``--time-format``.
        numbers: how texts are numbers; None in a column of numbers.
        median: of the magnitudes of the numbers, which decides their unit, as of ``Borders.median``.
        calendar: of ``CALENDARS``, where the numbers are dates.
    """

    name: str
    latest: float
    time_format: str | None = None
    numbers: NumberNotation | None = None
    median: float | None = None
    calendar: str | None = None

    @property
    def thresholds(self) -> list[float]:
        """The moments beside which the median of all times decides."""
        return [0.0, EARLIEST, float(np.nextafter(self.latest, np.inf)), float(np.nextafter(FUTURE, np.inf))]

    def column(self, raw: RawTable) -> TimeColumn:
        """Return the column of a part."""
        return TimeColumn(raw.table[self.name], self.name, raw.path, raw.row_numbers)

    def read(self, raw: RawTable, findings: Findings) -> np.ndarray:
        """Return seconds since 1970 (N,), NaN where a value is not a time; numbers in other units are counted."""
        column = self.column(raw)
        if is_stamps(column.values.type):
            return seconds_of_stamps(column.values)
        numbers, blank = self._numbers(column)
        seconds = self._of_numbers(column, numbers, findings)
        rows, of_texts, _ = self._of_texts(column, numbers, blank)
        seconds[rows] = of_texts
        return seconds

    def magnitudes(self, raw: RawTable) -> Borders:
        """Return where the magnitudes of the numbers lie beside the least ones of the units."""
        numbers, _ = self._numbers(self.column(raw))
        return Borders.of(np.abs(numbers[np.isfinite(numbers)]), LEAST)

    def number_times(self, raw: RawTable) -> Borders:
        """Return where the times of the numbers, or of a column of times, lie."""
        column = self.column(raw)
        if is_stamps(column.values.type):
            seconds = seconds_of_stamps(column.values)
        else:
            seconds = self._of_numbers(column, self._numbers(column)[0], Findings())
        return Borders.of(seconds[np.isfinite(seconds)], self.thresholds)

    def text_times(self, raw: RawTable) -> TextTimes:
        """Return what the texts are."""
        column = self.column(raw)
        numbers, blank = self._numbers(column)
        rows, seconds, named = self._of_texts(column, numbers, blank)
        first = np.flatnonzero(named & np.isfinite(seconds))
        example = Example(column.show(int(rows[first[0]])), float(seconds[first[0]])) if len(first) else None
        open_date = None
        if self.time_format is None:
            unread = rows[np.isnan(seconds)]
            readings = parse_orders(column.texts(unread)) if len(unread) else {}
            dates = np.flatnonzero(np.any([np.isfinite(times) for times in readings.values()], axis=0))
            open_date = column.show(int(unread[dates[0]])) if len(dates) else None
        return TextTimes(Borders.of(seconds[np.isfinite(seconds)], self.thresholds), example, open_date)

    def calendars(self, raw: RawTable) -> dict[str, tuple[int, Example | None]]:
        """Return calendar, or order of dates in digits -> the number of plausible times, and the first of them."""
        column = self.column(raw)
        numbers, _ = self._numbers(column)
        rows = np.flatnonzero(np.isfinite(numbers))
        times = {name: convert(numbers[rows]) for name, (_, convert) in CALENDARS.items()}
        counts: dict[str, tuple[int, Example | None]] = {}
        for name, seconds in (times | dates_by_order(numbers[rows])).items():
            plausible = np.flatnonzero((seconds >= EARLIEST) & (seconds <= self.latest))
            first = int(plausible[0]) if len(plausible) else -1
            example = None if first < 0 else Example(column.show(int(rows[first])), float(seconds[first]))
            counts[name] = len(plausible), example
        return counts

    def _numbers(self, column: TimeColumn) -> tuple[np.ndarray, np.ndarray]:
        numbers, blank = read_numbers(column.values, column.name, column.path, self.numbers)
        return np.where(np.isfinite(numbers), numbers, np.nan), blank

    @property
    def _is_pattern(self) -> bool:
        return self.time_format is not None and "%" in self.time_format

    def _of_numbers(self, column: TimeColumn, numbers: np.ndarray, findings: Findings) -> np.ndarray:
        if self._is_pattern or np.isnan(numbers).all():
            return np.full(len(numbers), np.nan)
        if self.time_format is not None:
            return read_stated(numbers, self.time_format)
        if self.calendar is not None:
            return CALENDARS[self.calendar][1](numbers)
        seconds, unit, odd = read_in_units(numbers, self.median)
        add_odd_units(column, unit, odd, findings)
        return seconds

    def _of_texts(
        self, column: TimeColumn, numbers: np.ndarray, blank: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the rows (n,) that are not numbers, their seconds (n,), and (n,) bool: with the name of a month."""
        rows = np.flatnonzero(~blank & (self._is_pattern | np.isnan(numbers)))
        seconds, named = np.full(len(rows), np.nan), np.zeros(len(rows), bool)
        if not len(rows):
            return rows, seconds, named
        if self.time_format is not None and self._is_pattern:
            pattern = self.time_format
            return rows, column.parse(rows, lambda texts: parse_by_pattern(texts, pattern)), named
        if is_numeric(column.values.type) or self.time_format not in (None, *ORDERS):
            return rows, seconds, named
        seconds = column.parse(rows, parse_iso)
        named = np.isnan(seconds)
        if named.any():
            seconds[named] = column.parse(rows[named], parse_month_names)
        unread = np.isnan(seconds)
        if self.time_format is not None and unread.any():
            order = self.time_format
            seconds[unread] = column.parse(rows[unread], lambda texts: parse_orders(texts)[order])
        return rows, seconds, named & ~unread


def decide_calendar(
    notation: TimeNotation, parts: Sequence[dict[str, tuple[int, Example | None]]], n: int, path_name: str
) -> tuple[TimeNotation, Example | None]:
    """Return the notation of ``n`` numbers that are implausible in any unit, and an example of a calendar.

    ``parts``: of ``TimeNotation.calendars``. Raises ``DataError`` where they may be dates in digits of another order.
    """
    shares = {name: sum(part[name][0] for part in parts) / n for name in parts[0]}
    calendar = next((name for name in CALENDARS if shares[name] >= MOST), None)
    if calendar is not None:
        examples = (part[calendar][1] for part in parts)
        return replace(notation, calendar=calendar), next(example for example in examples if example is not None)
    order = next((name for name in ORDERS if shares[name] >= MOST), None)
    if order is not None:
        example = next(part[order][1] for part in parts if part[order][1] is not None)
        raise open_order(notation, example.shown if example else "", path_name)
    return notation, None


def open_order(notation: TimeNotation, shown: str, where: object) -> DataError:
    """Return the error for dates whose order only the whole column shows."""
    problem = f"column {notation.name!r} has dates such as {shown!r}, whose order --on ray does not work out"
    return DataError(problem, where=where, remedy=f"say --time-format {' or --time-format '.join(ORDERS)}")
