"""A column of times as seconds since 1970: its notation is recognised from the whole column, and reported."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from demure.errors import DataError
from demure.preparation.problems import Findings
from demure.preparation.reading.dates import (
    ORDERS,
    parse_by_pattern,
    parse_iso,
    parse_month_names,
    parse_orders,
)
from demure.preparation.reading.numeric_times import CALENDARS, UNITS, dates_by_order, read_in_units
from demure.preparation.reading.parsing import read_numbers, to_text
from demure.preparation.reading.raw_table import RowNumbers
from demure.suggest import did_you_mean

TIME_FORMATS = (*UNITS, *CALENDARS, *ORDERS)
_NAME_FORMAT = f"say --time-format, one of {', '.join(TIME_FORMATS)}"
EARLIEST, FUTURE = 631152000.0, 4102444800.0  # 1990-01-01, 2100-01-01
_MOST = 0.95  # share of the numbers for which a calendar must give plausible times
_CLEARLY = 0.99  # share of the dates of three numbers that an order must be able to read
_BATCH = 1 << 20  # texts parsed at a time


def check_time_format(time_format: str | None) -> None:
    """Raise ``DataError`` unless ``time_format`` is None, one of ``TIME_FORMATS``, or a pattern of strptime."""
    if time_format is None or time_format in TIME_FORMATS:
        return
    if "%" in time_format:
        parse_by_pattern(pa.array(["1"]), time_format)
        return
    suggestion = did_you_mean(time_format, TIME_FORMATS)
    hint = f"; {suggestion}" if suggestion else ""
    remedy = f"use one of {', '.join(TIME_FORMATS)}, or a pattern such as '%d.%m.%Y %H:%M'"
    raise DataError(f"unknown value {time_format!r}{hint}", where="--time-format", remedy=remedy)


def latest_plausible() -> float:
    """Return the end of tomorrow, in seconds since 1970: what has happened has no later time in any zone."""
    return time.time() + 2 * 86400


def show_time(seconds: float) -> str:
    """Return a time for people: ``2021-03-10 09:05:00``."""
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=float(seconds))).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError):
        return f"{seconds:.6g} seconds since 1970"


@dataclass(frozen=True)
class TimeColumn:
    """A raw column of times.

    ``of_items``: the times may be of any century, and numbers are dates in digits before they are anything else.
    """

    values: pa.ChunkedArray
    name: str
    path: Path
    row_numbers: RowNumbers = field(default_factory=RowNumbers)
    of_items: bool = False

    def texts(self, rows: np.ndarray) -> pa.Array:
        """Return the values of ``rows`` as text."""
        return to_text(self.values.take(pa.array(rows)), self.name, self.path)

    def parse(self, rows: np.ndarray, parser: Callable[[pa.Array], np.ndarray]) -> np.ndarray:
        """Return ``parser`` of the texts of ``rows`` (n,), a batch at a time."""
        starts = range(0, len(rows), _BATCH)
        return np.concatenate([parser(self.texts(rows[start : start + _BATCH])) for start in starts])

    def is_plausible(self, seconds: np.ndarray) -> np.ndarray:
        """Return (n,) bool: a time from 1990 to tomorrow; of items, any time."""
        least, most = (-np.inf, np.inf) if self.of_items else (EARLIEST, latest_plausible())
        plausible: np.ndarray = (seconds >= least) & (seconds <= most)
        return plausible

    def where(self, row: int) -> str:
        """Return the place of a row, for errors."""
        return f"{self.path}:{int(self.row_numbers.of(np.array([row]))[0])}"

    def show(self, row: int) -> str:
        """Return a value as the file has it, cut to a readable length."""
        return str(self.values[row].as_py())[:60]


def read_times(column: TimeColumn, findings: Findings, time_format: str | None = None) -> np.ndarray | None:
    """Return seconds since 1970 (N,) float64, NaN where a value is not a time; None if all values are blank.

    Numbers are seconds, milliseconds, microseconds or nanoseconds by the magnitude of most, unless only as dates in
    digits or as days they lie between 1990 and tomorrow; a number that is clearly in another unit is read in that unit
    and counted as a problem. Texts are numbers, ISO 8601 (UTC where they name no zone), dates with names of months, or
    dates of three numbers, whose order the whole column decides. ``time_format`` (see ``check_time_format``) decides
    instead. Raises ``DataError`` if no value can be read, if the order stays open, and if most times are after 2100.
    """
    kind = column.values.type
    numbers, blank = None, None
    if is_stamps(kind):
        seconds = seconds_of_stamps(column.values)
        blank = np.isnan(seconds)
        if time_format is not None:
            findings.note(f"{column.path.name}: column {column.name!r} is of type {kind}: --time-format is not used")
    else:
        numbers, blank = read_numbers(column.values, column.name, column.path)
    if blank.all():
        findings.note(f"{column.path.name}: column {column.name!r} is empty, so there are no timestamps")
        return None
    if numbers is not None:
        seconds = _read(column, np.where(np.isfinite(numbers), numbers, np.nan), blank, findings, time_format)
    if np.isnan(seconds).all():
        raise no_time(column.path, column.name, column.show(int(np.flatnonzero(~blank)[0])), time_format)
    _check_range(column, seconds, findings, time_format)
    return seconds


def no_time(path: Path, name: str, first: str, time_format: str | None) -> DataError:
    """Return the error for a column ``name`` without a time; ``first``: its first value."""
    asked = f" as {time_format}" if time_format else ""
    remedy = f"give --time-format a pattern such as '%d.%m.%Y %H:%M', or one of {', '.join(TIME_FORMATS)}"
    return DataError(
        f"no timestamp in column {name!r} can be read{asked} (the first is {first!r})", where=path, remedy=remedy
    )


def is_stamps(kind: pa.DataType) -> bool:
    """Return whether the values of a type are times or dates."""
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def seconds_of_stamps(values: pa.ChunkedArray) -> np.ndarray:
    """Return seconds since 1970 (N,) of a column of times or dates, NaN where there is none."""
    stamps = values.cast(pa.timestamp("us", tz=getattr(values.type, "tz", None)), safe=False).cast(pa.int64())
    seconds: np.ndarray = pc.divide(stamps.cast(pa.float64()), 1e6).to_numpy()
    return seconds


def _read(
    column: TimeColumn, numbers: np.ndarray, blank: np.ndarray, findings: Findings, time_format: str | None
) -> np.ndarray:
    by_pattern = time_format is not None and "%" in time_format
    seconds = np.full(len(numbers), np.nan)
    if not by_pattern and not np.isnan(numbers).all():
        seconds = _read_numbers(column, numbers, findings, time_format)
    rows = np.flatnonzero(~blank & (by_pattern | np.isnan(numbers)))
    if len(rows) and time_format is not None and by_pattern:
        seconds[rows] = column.parse(rows, partial(parse_by_pattern, pattern=time_format))
    elif len(rows) and not pa.types.is_floating(column.values.type) and time_format in (None, *ORDERS):
        _read_texts(column, seconds, rows, int((~blank).sum()), findings, time_format)
    return seconds


def _read_numbers(column: TimeColumn, values: np.ndarray, findings: Findings, time_format: str | None) -> np.ndarray:
    if time_format is not None:
        return read_stated(values, time_format)
    seconds, unit, odd = read_in_units(values)
    rows = np.flatnonzero(np.isfinite(values))
    if column.of_items or not column.is_plausible(np.array([np.nanmedian(seconds)])).all():
        for notation, convert in [CALENDARS["digits"]] if column.of_items else CALENDARS.values():
            dates = convert(values)
            plausible = column.is_plausible(dates[rows])
            if plausible.mean() >= _MOST:
                _note_notation(column, notation, (row := int(rows[np.argmax(plausible)])), dates[row], findings)
                return dates
        by_order = _read_digits_by_order(column, values, rows, findings)
        if by_order is not None:
            return by_order
    note_unit(column.path, unit, findings)
    add_odd_units(column, unit, odd, findings)
    return seconds


def read_stated(values: np.ndarray, time_format: str) -> np.ndarray:
    """Return seconds since 1970 (N,) of numbers in one of ``TIME_FORMATS``."""
    if time_format in UNITS:
        return values / UNITS[time_format][1]
    return CALENDARS[time_format][1](values) if time_format in CALENDARS else dates_by_order(values)[time_format]


def note_unit(path: Path, unit: str, findings: Findings) -> None:
    """Note a unit that is not seconds."""
    if unit != "seconds":
        findings.note(f"{path.name}: timestamps are taken as {unit}")


def add_odd_units(column: TimeColumn, unit: str, odd: dict[str, np.ndarray], findings: Findings) -> None:
    """Count the rows in other units than ``unit``; ``odd`` as of ``read_in_units``."""
    for odd_unit, odd_rows in odd.items():
        kind, shown = f"timestamp in {odd_unit}, most are {unit}", column.values.take(pa.array(odd_rows))
        numbers = column.row_numbers.of(odd_rows)
        findings.add(kind, f"read as {odd_unit}", column.path, numbers, partial(_value_at, shown))


def _read_digits_by_order(
    column: TimeColumn, values: np.ndarray, rows: np.ndarray, findings: Findings
) -> np.ndarray | None:
    """Return seconds since 1970 (N,) where the numbers of ``rows`` are dates in digits that do not begin with the year.

    None where they are not. Raises ``DataError`` if the order of day and month stays open.
    """
    readings = dates_by_order(values)
    if not any(column.is_plausible(dates[rows]).mean() >= _MOST for dates in readings.values()):
        return None
    order = _decide_order(column, rows, {name: dates[rows] for name, dates in readings.items()}, len(rows), findings)
    if order is None:
        return None
    row = int(rows[np.argmax(np.isfinite(readings[order][rows]))])
    _note_notation(column, f"dates in digits, {order}", row, readings[order][row], findings)
    return readings[order]


def _value_at(values: pa.ChunkedArray, k: int) -> object:
    return values[k].as_py()


def _read_texts(
    column: TimeColumn,
    seconds: np.ndarray,
    rows: np.ndarray,
    n_values: int,
    findings: Findings,
    time_format: str | None,
) -> None:
    """Read the texts of ``rows`` into ``seconds`` (N,); ``n_values``: the values of the column that are not blank."""
    seconds[rows] = column.parse(rows, parse_iso)
    rows = rows[np.isnan(seconds[rows])]
    if len(rows):
        seconds[rows] = column.parse(rows, parse_month_names)
        named = rows[np.isfinite(seconds[rows])]
        if len(named):
            _note_notation(column, "dates with names of months", int(named[0]), seconds[named[0]], findings)
        rows = rows[np.isnan(seconds[rows])]
    if not len(rows):
        return
    parts = [parse_orders(column.texts(rows[start : start + _BATCH])) for start in range(0, len(rows), _BATCH)]
    readings = {order: np.concatenate([part[order] for part in parts]) for order in ORDERS}
    order = time_format or _decide_order(column, rows, readings, n_values, findings)
    if order is not None:
        seconds[rows] = readings[order]
        row = int(rows[np.argmax(np.isfinite(readings[order]))])
        if time_format is None:
            _note_notation(column, f"dates, {order}", row, seconds[row], findings)


def _decide_order(
    column: TimeColumn, rows: np.ndarray, readings: dict[str, np.ndarray], n_values: int, findings: Findings
) -> str | None:
    """Return the order in which all dates can be read; None where there are none, or few whose order stays open.

    ``readings``: order -> seconds (n,) of ``rows``. Raises ``DataError`` if several orders, or none, can read dates
    that are half of the column or more.
    """
    is_date = np.any([np.isfinite(seconds) for seconds in readings.values()], axis=0)
    if not is_date.any():
        return None
    shares = {order: float(np.isfinite(seconds[is_date]).mean()) for order, seconds in readings.items()}
    orders = [order for order in ORDERS if shares[order] == max(shares.values()) >= _CLEARLY]
    plausible = [order for order in orders if column.is_plausible(readings[order][is_date]).mean() >= _MOST]
    orders = plausible or orders
    if len(orders) == 1:
        return orders[0]
    if orders:
        differs = is_date & np.any([readings[order] != readings[orders[0]] for order in orders], axis=0)
        if not differs.any():
            return orders[0]
        k = int(np.argmax(differs))
        dates = " or ".join(f"{show_time(readings[order][k])[:10]} ({order})" for order in orders)
        problem = f"{column.show(int(rows[k]))!r} in column {column.name!r} can be {dates}"
    else:
        most = max(ORDERS, key=lambda order: shares[order])
        k = int(np.argmax(is_date & np.isnan(readings[most])))
        other = next(order for order in ORDERS if np.isfinite(readings[order][k]))
        typical = int(np.argmax(np.isfinite(readings[most]) & np.isnan(readings[other])))
        problem = (
            f"column {column.name!r} has dates in different orders: {column.show(int(rows[typical]))!r} is {most}, "
            f"{column.show(int(rows[k]))!r} is {other}"
        )
        orders = [most, other]
    if is_date.sum() * 2 < n_values:
        findings.note(f"{column.path.name}: {problem}: such dates are not read without --time-format")
        return None
    where = column.where(int(rows[k]))
    raise DataError(problem, where=where, remedy=f"say --time-format {' or --time-format '.join(orders)}")


def _note_notation(column: TimeColumn, notation: str, row: int, seconds: float, findings: Findings) -> None:
    note_notation(column.path, column.name, notation, column.show(row), seconds, findings)


def note_notation(path: Path, name: str, notation: str, shown: str, seconds: float, findings: Findings) -> None:
    """Note how the times in the column ``name`` are read, by an example."""
    findings.note(f"{path.name}: times in column {name!r} are taken as {notation}: {shown} is {show_time(seconds)} UTC")


def _check_range(column: TimeColumn, seconds: np.ndarray, findings: Findings, time_format: str | None) -> None:
    """Note that most times are not between 1990 and tomorrow; refuse most times after 2100."""
    median = float(np.nanmedian(seconds))
    if column.of_items or EARLIEST <= median <= latest_plausible():
        return
    if median > FUTURE and time_format is None:
        raise beyond_2100(column, seconds)
    note_range(column.path, column.name, np.nanmin(seconds), np.nanmax(seconds), findings, time_format)


def beyond_2100(column: TimeColumn, seconds: np.ndarray) -> DataError:
    """Return the error for a column of which most times are after 2100, by the first of them."""
    k = int(np.flatnonzero(seconds > FUTURE)[0])
    problem = f"{column.show(k)!r} in column {column.name!r} would be {show_time(seconds[k])}"
    return DataError(problem, where=column.where(k), remedy=_NAME_FORMAT)


def note_range(path: Path, name: str, least: float, most: float, findings: Findings, time_format: str | None) -> None:
    """Note that the times of the column ``name``, from ``least`` to ``most``, may not be times."""
    remedy = "" if time_format else f"; if these are dates, {_NAME_FORMAT}"
    findings.note(
        f"{path.name}: times in column {name!r} lie between {show_time(least)} and {show_time(most)}: only their order "
        f"and their distances count{remedy}"
    )


@dataclass(frozen=True)
class ImplausibleTimes:
    """Times from ``least`` to ``most``, which are odd where most times are not; ``is_dropped``, or only reported."""

    kind: str
    least: float
    most: float
    is_dropped: bool

    def among(self, times: np.ndarray) -> np.ndarray:
        """Return (N,) bool."""
        mask: np.ndarray = (times >= self.least) & (times <= self.most)
        return mask


def implausible_times(median: float, latest: float) -> list[ImplausibleTimes]:
    """Return the kinds of odd times in a column, by its ``median`` and the ``latest`` time that is plausible.

    A mistyped year, or -1 and 0 for an unknown time, is dropped; a time before 1990 or after tomorrow is only reported.
    """
    kinds = []
    if median >= 0:
        kinds.append(ImplausibleTimes("timestamp before 1970", -np.inf, np.nextafter(0, -1), True))
    if median <= FUTURE:
        kinds.append(ImplausibleTimes("timestamp after 2100", np.nextafter(FUTURE, np.inf), np.inf, True))
    if EARLIEST <= median <= latest:
        kinds += [
            ImplausibleTimes("timestamp 0", 0, 0, True),
            ImplausibleTimes("timestamp before 1990", np.nextafter(0, 1), np.nextafter(EARLIEST, 0), False),
            ImplausibleTimes("timestamp after tomorrow", np.nextafter(latest, np.inf), FUTURE, False),
        ]
    return kinds
