"""Dates in text, in any of the usual notations, as seconds since 1970. Dates without a zone are in UTC."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from demure.errors import DataError

ORDERS = ("year-first", "day-first", "month-first")
_MONTHS = {name.lower(): month for month, name in enumerate(calendar.month_name) if name}
_MONTHS |= {name[:3]: month for name, month in _MONTHS.items()} | {"sept": 9}
_ZONE_HOURS = {"Z": 0, "UTC": 0, "GMT": 0, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6,
               "PST": -8, "PDT": -7, "CET": 1, "CEST": 2}  # fmt: skip
_PIVOT = 69  # of years of two digits, as strptime has it: 69 is 1969, 68 is 2068

_CLOCK = (
    r"(?P<hour>\d{1,2})[:.h](?P<minute>\d{2})(?:[:.](?P<second>\d{2}(?:[.,]\d+)?))?\s*(?P<half>[AaPp]\.?[Mm]\.?)?"
    r"(?:\s*(?P<zone>(?:UTC|GMT)?[+-]\d{2}:?\d{2}|[A-Z]{3,4}|Z))?(?:\s*\([^)]*\))?"
)
_ISO_ZONE = r"\d[Tt ]\d.*(?:[Zz]|[+-]\d{2}:?(?:\d{2})?)\s*$"
_TIME_OF_DAY = rf"(?:(?:[T ,:_]+|\s+at\s+){_CLOCK})?\s*$"
_WEEKDAY = r"^\s*(?:[A-Za-z]{3,9}\.?,?\s+)?"
_SEPARATOR = r"\s*[-/., ]\s*"
_DAY, _MONTH, _YEAR = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?\.?", r"(?P<month>[A-Za-z]{3,9})\.?", r"(?P<year>\d{4}|\d{2})"
_ORDERED = rf"{_WEEKDAY}(?P<a>\d{{1,4}}){_SEPARATOR}(?P<b>\d{{1,2}}){_SEPARATOR}(?P<c>\d{{1,4}})\.?{_TIME_OF_DAY}"
_WITH_MONTH_NAME = (
    rf"{_WEEKDAY}{_DAY}[-/, ]*{_MONTH}[-/, ]+{_YEAR}{_TIME_OF_DAY}",
    rf"{_WEEKDAY}{_MONTH}[-/ ]*{_DAY}[-/, ]+{_YEAR}{_TIME_OF_DAY}",
    rf"{_WEEKDAY}{_MONTH} +{_DAY} +{_CLOCK} +{_YEAR}\s*$",
    rf"^\s*{_YEAR}[-/., ]+{_MONTH}[-/, ]+{_DAY}{_TIME_OF_DAY}",
)


def parse_iso(texts: pa.Array) -> np.ndarray:
    """Return seconds since 1970 (n,) of ISO 8601, NaN for any other text."""
    with_zone = pc.fill_null(pc.match_substring_regex(texts, _ISO_ZONE), False).to_numpy(zero_copy_only=False)
    seconds = np.full(len(texts), np.nan)
    for chosen in (with_zone, ~with_zone):  # apart: pandas before 3 gives a text without a zone that of an earlier one
        series = pd.Series(texts.filter(pa.array(chosen)).to_pylist(), dtype=object)
        seconds[chosen] = _in_seconds(pd.to_datetime(series, format="ISO8601", errors="coerce", utc=True))
    return seconds


def parse_by_pattern(texts: pa.Array, pattern: str) -> np.ndarray:
    """Return seconds since 1970 (n,) by a pattern of strptime, NaN for any other text.

    Raises ``DataError`` for a pattern that is not one.
    """
    series = pd.Series(texts.to_pylist(), dtype=object).str.strip()
    try:
        return _in_seconds(pd.to_datetime(series, format=pattern, errors="coerce", utc=True))
    except (ValueError, re.error) as error:
        remedy = "for example '%d/%m/%Y %H:%M:%S'"
        raise DataError(
            f"{pattern!r} is not a pattern of dates ({error})", where="--time-format", remedy=remedy
        ) from error


def parse_month_names(texts: pa.Array) -> np.ndarray:
    """Return seconds since 1970 (n,) of dates with an English name of the month, NaN for any other text.

    The notations are those of e-mail, of C and Java (``Wed Mar 10 11:37:04 -0700 2017``), of Oracle (``10-MAR-21``), of
    logs (``10/Mar/2021:11:37:04 +0000``), and the like.
    """
    seconds = np.full(len(texts), np.nan)
    for regex in _WITH_MONTH_NAME:
        rows = np.flatnonzero(np.isnan(seconds))
        if not len(rows):
            break
        parts = pc.extract_regex(texts.take(pa.array(rows)), regex)
        year, day = _number(parts, "year"), _number(parts, "day")
        month = _by_distinct_value(parts.field("month"), lambda name: _MONTHS.get(name.lower(), np.nan))
        seconds[rows] = seconds_of_date(full_year(year), month, day) + _time_of_day(parts)
    return seconds


def parse_orders(texts: pa.Array) -> dict[str, np.ndarray]:
    """Return order -> seconds since 1970 (n,) of dates of three numbers, NaN where a text is no such date."""
    parts = pc.extract_regex(texts, _ORDERED)
    a, b, c = (_number(parts, name) for name in "abc")
    time = _time_of_day(parts)
    n_first, n_last = (_number_of_digits(parts, name) for name in "ac")
    year_first = np.where(np.isin(n_first, (2, 4)) & (n_last <= 2), full_year(a), np.nan)
    year_last = np.where(np.isin(n_last, (2, 4)) & (n_first <= 2), full_year(c), np.nan)
    starting_with_year = seconds_of_date(year_first, b, c) + time
    readings = {
        "day-first": seconds_of_date(year_last, b, a) + time,
        "month-first": seconds_of_date(year_last, a, b) + time,
    }
    # A first number of four digits is a year in any order.
    return {"year-first": starting_with_year} | {
        order: np.where(n_first == 4, starting_with_year, seconds) for order, seconds in readings.items()
    }


def seconds_of_date(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Return seconds since 1970 (n,) of the beginning of days, NaN where there is no such day."""
    is_date = (year >= 1) & (year <= 9999) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    months = np.where(is_date, (year - 1970) * 12 + month - 1, 0).astype(np.int64).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + np.where(is_date, day - 1, 0).astype(np.int64)
    is_date &= days.astype("datetime64[M]") == months  # there is no 31st of April
    return np.where(is_date, days.astype(np.int64) * 86400.0, np.nan)


def _in_seconds(dates: pd.Series) -> np.ndarray:
    micros = dates.dt.tz_localize(None).astype("datetime64[us]")
    return np.where(micros.isna(), np.nan, micros.astype(np.int64).to_numpy() / 1e6)


def _number(parts: pa.StructArray, name: str) -> np.ndarray:
    """Return a part as numbers (n,), NaN where it is absent."""
    texts = pc.replace_substring(parts.field(name), ",", ".")
    texts = pc.if_else(pc.and_(parts.is_valid(), pc.not_equal(texts, "")), texts, pa.scalar(None, pa.string()))
    numbers: np.ndarray = texts.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    return numbers


def _number_of_digits(parts: pa.StructArray, name: str) -> np.ndarray:
    lengths: np.ndarray = pc.fill_null(pc.utf8_length(parts.field(name)), 0).to_numpy(zero_copy_only=False)
    return lengths


def full_year(year: np.ndarray) -> np.ndarray:
    """Return years (n,) of four digits; of two digits, 69 and later are in the 20th century."""
    return np.where(year < 100, year + np.where(year < _PIVOT, 2000, 1900), year)


def _time_of_day(parts: pa.StructArray) -> np.ndarray:
    """Return the seconds (n,) to add to the beginning of the day: 0 for a date alone, NaN if not valid."""
    hour, minute, second = (_number(parts, name) for name in ("hour", "minute", "second"))
    half = _by_distinct_value(parts.field("half"), lambda text: {"": -1.0, "a": 0.0}.get(text[:1].lower(), 1.0))
    offset = _by_distinct_value(parts.field("zone"), _offset)
    is_valid = (hour <= 23) & (minute <= 59) & ~(second >= 61) & ((half < 0) | ((hour >= 1) & (hour <= 12)))
    hour = np.where(half < 0, hour, hour % 12 + 12 * half)
    seconds = hour * 3600 + minute * 60 + np.nan_to_num(second) - offset
    return np.where(np.isnan(hour), 0.0, np.where(is_valid, seconds, np.nan))


def _offset(zone: str) -> float:
    """Return the seconds by which a zone is ahead of UTC; 0 without a zone, NaN for an unknown one."""
    numeric = re.fullmatch(r"(?:UTC|GMT)?([+-])(\d{2}):?(\d{2})", zone)
    if numeric is not None:
        sign, hours, minutes = numeric.groups()
        return (int(hours) * 3600 + int(minutes) * 60) * (-1.0 if sign == "-" else 1.0)
    return _ZONE_HOURS.get(zone or "UTC", np.nan) * 3600.0


def _by_distinct_value(texts: pa.Array, convert: Callable[[str], float]) -> np.ndarray:
    """Return ``convert`` of each text (n,), called once for each distinct one; NaN where there is none."""
    encoded = texts.dictionary_encode()
    numbers = np.array([*map(convert, encoded.dictionary.to_pylist()), np.nan])
    values: np.ndarray = numbers[pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)]
    return values
