"""Numbers as times: units since 1970 by magnitude, days, and dates in digits (20210310)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from demure.preparation.reading.dates import full_year, seconds_of_date

# Seconds of today are near 1.7e9; each unit is a thousand times the one before: the least magnitude, and per second.
UNITS = {"seconds": (0.0, 1.0), "milliseconds": (1e11, 1e3), "microseconds": (1e14, 1e6), "nanoseconds": (1e17, 1e9)}
LEAST = [least for least, _ in UNITS.values()][1:]
_CLEAR = 1e8  # below it is 1973 in seconds, or nothing in any other unit
_DAY = 86400.0
_EXCEL_1970 = 25569  # the number of 1970-01-01 in Excel


def read_in_units(values: np.ndarray, median: float | None = None) -> tuple[np.ndarray, str, dict[str, np.ndarray]]:
    """Return seconds since 1970 (n,), the unit of most numbers by their magnitude, and the rows in other units.

    ``values`` (n,) may have NaN, which stays. ``median``: of the magnitudes, if ``values`` are a part of the numbers.
    """
    names, per_second = list(UNITS), np.array([count for _, count in UNITS.values()])
    common = int(_unit(np.array([np.nanmedian(np.abs(values)) if median is None else median]))[0])
    units = _unit(values)
    odd = np.flatnonzero((units != common) & (np.abs(values) >= _CLEAR))
    seconds = values / per_second[common]
    seconds[odd] = values[odd] / per_second[units[odd]]
    return seconds, names[common], {names[unit]: odd[units[odd] == unit] for unit in np.unique(units[odd])}


def _unit(values: np.ndarray) -> np.ndarray:
    """Return the position (n,) in ``UNITS`` by magnitude."""
    positions: np.ndarray = np.searchsorted(LEAST, np.abs(values), side="right") * np.isfinite(values)
    return positions


def _from_digits(values: np.ndarray) -> np.ndarray:
    """Return seconds since 1970 (n,) of 2021, 202103, 20210310, and up to 20210310093059 and 20210310093059123."""
    seconds = np.full(len(values), np.nan)
    whole = np.where(np.isfinite(values) & (values % 1 == 0) & (values >= 1000) & (values < 1e17), values, 1.0)
    n_digits = np.floor(np.log10(whole)).astype(int) + 1
    for length in (4, 6, 8, 10, 12, 14, 17):
        rows = np.flatnonzero(n_digits == length)
        number = whole[rows].astype(np.int64)
        first = np.ones(len(rows), np.int64)  # month and day where there are none
        part = {end: number // 10 ** (length - end) % 100 if end <= length else first * 0 for end in range(6, 15, 2)}
        month, day = part[6] if length >= 6 else first, part[8] if length >= 8 else first
        hour, minute, second = part[10], part[12], part[14]
        is_time = (hour <= 23) & (minute <= 59) & (second <= 60)
        time = hour * 3600.0 + minute * 60 + second + (number % 1000 / 1000 if length == 17 else 0)
        seconds[rows] = seconds_of_date(number // 10 ** (length - 4), month, day) + np.where(is_time, time, np.nan)
    return seconds


def dates_by_order(values: np.ndarray) -> dict[str, np.ndarray]:
    """Return order -> seconds since 1970 (n,) of dates in digits, NaN where a number is no such date.

    The orders are those of ``demure.preparation.reading.dates``: 210310 and those of ``_from_digits`` are year-first,
    10032021 and 100321 day-first, 3102021 (numbers lose their first zero) and 31021 month-first.
    """
    is_whole = np.isfinite(values) & (values % 1 == 0) & (values >= 10101) & (values < 1e8)
    number = np.where(is_whole, values, 0).astype(np.int64)
    is_long = number >= 1_000_000
    pair = number // np.where(is_long, 10_000, 100)  # day and month, in either order; both are 0 for no date
    year = full_year(number % np.where(is_long, 10_000, 100))
    digits, short = _from_digits(values), np.where(is_long, 0, number)
    year_first = seconds_of_date(full_year(short // 10_000), short // 100 % 100, short % 100)
    return {
        "year-first": np.where(np.isnan(year_first), digits, year_first),
        "day-first": seconds_of_date(year, pair % 100, pair // 100),
        "month-first": seconds_of_date(year, pair // 100, pair % 100),
    }


# Name -> description, and seconds since 1970 (n,) of numbers, NaN where a number is not such a time.
CALENDARS: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "digits": ("dates in digits", _from_digits),
    "excel": ("days since 1900, as in Excel", lambda values: (values - _EXCEL_1970) * _DAY),
    "days": ("days since 1970", lambda values: values * _DAY),
}
