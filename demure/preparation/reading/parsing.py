"""The values of raw columns: ids and texts as strings, times as seconds, ratings as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from demure.data.id_codes import IdEncoder
from demure.data.nested import value_to_text
from demure.errors import DataError
from demure.preparation.problems import Findings
from demure.preparation.reading.raw_table import RawTable, RowNumbers

# Seconds of today are near 1.7e9; each unit is a thousand times the one before. Least magnitude, per second, name.
_UNITS = [(0.0, 1.0, "seconds"), (1e11, 1e3, "milliseconds"), (1e14, 1e6, "microseconds"), (1e17, 1e9, "nanoseconds")]
_CLEAR = 1e8  # below it is 1973 in seconds, or nothing in any other unit
_FUTURE = 4102444800.0  # 2100-01-01
_DATES = 1 << 20  # dates parsed at a time


def to_text(column: pa.ChunkedArray, name: str, path: Path) -> pa.Array:
    """Return a column as strings (N,), null where there is no value.

    Whole floats lose their ``.0``, as they were integers once. Raises ``DataError`` for a type without text.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return to_text(column.cast(kind.value_type), name, path)
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
        is_whole = pc.all(pc.and_(pc.equal(column, pc.round(column)), pc.less(pc.abs(column), 2**53))).as_py()
        column = column.cast(pa.int64()) if is_whole else column
    if pa.types.is_nested(kind):
        return pa.array([value_to_text(name, value) for value in column.to_pylist()], pa.string())
    try:
        column = column.cast(pa.string())
    except pa.ArrowException as error:
        problem = f"column {name!r} of type {kind} cannot be read as text"
        raise DataError(problem, where=path, remedy="store it as text") from error
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


@dataclass(frozen=True)
class IdColumn:
    """A column of ids: ``codes`` (N,) int32 into ``values`` (n,), in order of appearance; -1 where there is no id."""

    codes: np.ndarray
    values: pa.Array

    def text(self, row: int) -> str | None:
        """Return the id of a row."""
        code = int(self.codes[row])
        return None if code < 0 else self.values[code].as_py()

    def is_blank(self) -> np.ndarray:
        """Return (N,) bool: no id, or nothing but spaces."""
        blank: np.ndarray = np.append(is_blank(self.values), True)[self.codes]
        return blank


def read_ids(raw: RawTable, column: str) -> IdColumn:
    """Return a column of ids.

    Raises ``DataError`` for a line break within an id of delimited text, which is the sign of an unclosed quote.
    """
    ids = encode_column(raw.table[column], column, raw.path)
    if raw.delimited:
        is_broken = pc.fill_null(pc.match_substring(ids.values, "\n"), False).to_numpy(zero_copy_only=False)
        if is_broken.any():
            row = int(np.flatnonzero(np.append(is_broken, False)[ids.codes])[0])
            raise _unclosed_quote(raw, column, row, ids.text(row))
    return ids


def read_id_texts(raw: RawTable, column: str) -> pa.Array:
    """Return a column of ids as strings (N,). Raises ``DataError`` as ``read_ids``."""
    texts = to_text(raw.table[column], column, raw.path)
    if raw.delimited:
        broken = np.flatnonzero(pc.fill_null(pc.match_substring(texts, "\n"), False).to_numpy(zero_copy_only=False))
        if len(broken):
            raise _unclosed_quote(raw, column, int(broken[0]), texts[int(broken[0])].as_py())
    return texts


def _unclosed_quote(raw: RawTable, column: str, row: int, value: str | None) -> DataError:
    problem = f"column {column!r} has a line break in {str(value)[:60]!r}"
    return DataError(
        problem, where=f"{raw.path}:{raw.row_numbers.of(np.array([row]))[0]}", remedy="close the quote there"
    )


def encode_column(column: pa.ChunkedArray, name: str, path: Path) -> IdColumn:
    """Return any column as codes of its values."""
    if not pa.types.is_dictionary(column.type) or column.num_chunks > 1:
        encoder = IdEncoder()
        for chunk in column.chunks:
            encoder.add(chunk)
        column = encoder.column()
    chunk = column.chunk(0)
    # Two values may have the same text (1 and 1.0), so the texts are encoded once more.
    texts = to_text(pa.chunked_array([chunk.dictionary]), name, path).dictionary_encode()
    code_of = np.append(pc.fill_null(texts.indices, -1).to_numpy(zero_copy_only=False), -1).astype(np.int32)
    return IdColumn(code_of[pc.fill_null(chunk.indices, -1).to_numpy(zero_copy_only=False)], texts.dictionary)


def is_blank(texts: pa.Array) -> np.ndarray:
    """Return (N,) bool: null, empty, or nothing but spaces."""
    trimmed = pc.utf8_trim_whitespace(texts)
    blank: np.ndarray = pc.fill_null(pc.equal(trimmed, ""), True).to_numpy(zero_copy_only=False)
    return blank


def read_numbers(column: pa.ChunkedArray, name: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers (N,) float64, NaN where a value is not a number, and (N,) bool: there is no value."""
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        numbers = pd.Series(column.cast(pa.float64(), safe=False).to_numpy()).to_numpy()
        return numbers, np.isnan(numbers)
    texts = to_text(column, name, path)
    try:
        return texts.cast(pa.float64()).to_numpy(zero_copy_only=False), is_blank(texts)
    except pa.ArrowException:
        pass  # a value is not a number: pandas is slower, but parses the others
    values = pd.to_numeric(pd.Series(texts.to_numpy(zero_copy_only=False), dtype=object), errors="coerce")
    return values.to_numpy(dtype=np.float64), is_blank(texts)


def read_times(
    column: pa.ChunkedArray, name: str, path: Path, findings: Findings, row_numbers: RowNumbers
) -> np.ndarray | None:
    """Return seconds since 1970 (N,) float64, NaN where a value is not a time; None if all values are blank.

    Numbers are seconds, milliseconds, microseconds or nanoseconds by the magnitude of most; a number that is clearly in
    another unit is read in that unit and counted as a problem. Texts are numbers or ISO 8601 (UTC where they name no
    zone). Raises ``DataError`` if no value can be read.
    """
    if column.null_count == len(column):
        findings.note(f"{path.name}: column {name!r} is empty, so there are no timestamps")
        return None
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        stamps = column.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None)), safe=False).cast(pa.int64())
        seconds: np.ndarray = pc.divide(stamps.cast(pa.float64()), 1e6).to_numpy()
        return seconds
    values, blank = read_numbers(column, name, path)
    if blank.all():
        findings.note(f"{path.name}: column {name!r} is empty, so there are no timestamps")
        return None
    values = np.where(np.isfinite(values), values, np.nan)
    if not np.isnan(values).all():
        values = _in_seconds(values, column, path, findings, row_numbers)
    not_numbers = np.flatnonzero(np.isnan(values) & ~blank)
    if len(not_numbers) and not pa.types.is_floating(column.type):
        for start in range(0, len(not_numbers), _DATES):
            rows = not_numbers[start : start + _DATES]
            values[rows] = _parse_dates(to_text(column.take(pa.array(rows)), name, path).to_pylist())
    if np.isnan(values).all():
        example = next(value for value, empty in zip(column.to_pylist(), blank, strict=True) if not empty)
        raise DataError(
            f"no timestamp in column {name!r} can be read (the first is {example!r})",
            where=path,
            remedy="write seconds since 1970 or ISO 8601, or remove the column",
        )
    return values


def _in_seconds(
    values: np.ndarray, column: pa.ChunkedArray, path: Path, findings: Findings, row_numbers: RowNumbers
) -> np.ndarray:
    common_unit = _unit(np.array([float(np.nanmedian(np.abs(values)))]))[0]
    if common_unit:
        findings.note(f"{path.name}: timestamps are taken as {_UNITS[common_unit][2]}")
    units = _unit(values)
    odd = np.flatnonzero((units != common_unit) & (np.abs(values) >= _CLEAR))
    for unit in np.unique(units[odd]):
        rows = odd[units[odd] == unit]
        kind = f"timestamp in {_UNITS[unit][2]}, most are {_UNITS[common_unit][2]}"
        originals = column.take(pa.array(rows))
        findings.add(kind, f"read as {_UNITS[unit][2]}", path, row_numbers.of(rows), partial(_value_at, originals))
    if not len(odd):
        return values / _UNITS[common_unit][1] if common_unit else values
    divisors = np.full(len(values), _UNITS[common_unit][1])
    divisors[odd] = np.array([unit[1] for unit in _UNITS])[units[odd]]
    seconds: np.ndarray = values / divisors
    return seconds


def _value_at(values: pa.ChunkedArray, k: int) -> object:
    return values[k].as_py()


def _unit(values: np.ndarray) -> np.ndarray:
    """Return the position (N,) in ``_UNITS`` by magnitude."""
    least = [unit[0] for unit in _UNITS[1:]]
    positions: np.ndarray = np.searchsorted(least, np.abs(values), side="right") * np.isfinite(values)
    return positions


def _parse_dates(texts: list[str | None]) -> np.ndarray:
    """Return seconds since 1970 (n,) of ISO 8601, NaN for any other text."""
    dates = pd.to_datetime(pd.Series(texts, dtype=object), format="ISO8601", errors="coerce", utc=True)
    micros = dates.dt.tz_localize(None).astype("datetime64[us]")
    return np.where(micros.isna(), np.nan, micros.astype(np.int64).to_numpy() / 1e6)


def implausible_times(times: np.ndarray) -> dict[str, np.ndarray]:
    """Return kind -> (N,) bool: times outside 1970 to 2100 where most are inside (-1 for unknown, a mistyped year)."""
    median = float(np.nanmedian(times))
    masks = {}
    if median >= 0:
        masks["timestamp before 1970"] = times < 0
    if median <= _FUTURE:
        masks["timestamp after 2100"] = times > _FUTURE
    return masks
