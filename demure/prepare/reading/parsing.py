"""Columns as values: ids and texts as strings, times as seconds, ratings as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from demure.data.id_codes import Encoder
from demure.data.nested import flat
from demure.errors import DataError
from demure.prepare.problems import Findings
from demure.prepare.reading.tables import Raw

# Seconds of today are near 1.7e9; each unit is a thousand times the one before. Least magnitude, per second, name.
_UNITS = [(0.0, 1.0, "seconds"), (1e11, 1e3, "milliseconds"), (1e14, 1e6, "microseconds"), (1e17, 1e9, "nanoseconds")]
_CLEAR = 1e8  # below it is 1973 in seconds, or nothing in any other unit
_FUTURE = 4102444800.0  # 2100-01-01
_DATES = 1 << 20


def as_text(column: pa.ChunkedArray, name: str, path: Path) -> pa.Array:
    """(N,) strings, null where nothing is given. Whole floats lose their ``.0``, as they were integers once."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return as_text(column.cast(kind.value_type), name, path)
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
        whole = pc.all(pc.and_(pc.equal(column, pc.round(column)), pc.less(pc.abs(column), 2**53))).as_py()
        column = column.cast(pa.int64()) if whole else column
    if pa.types.is_nested(kind):
        return pa.array([flat(name, value) for value in column.to_pylist()], pa.string())
    try:
        column = column.cast(pa.string())
    except pa.ArrowException as error:
        reason = f"column {name!r} of type {kind} cannot be read as text"
        raise DataError(reason, where=path, remedy="store it as text") from error
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


@dataclass(frozen=True)
class Ids:
    """A column of ids: ``codes`` (N,) int32, -1 where there is none, into ``values`` (n,), in order of appearance."""

    codes: np.ndarray
    values: pa.Array

    def text(self, row: int) -> str | None:
        """The id of a row."""
        code = int(self.codes[row])
        return None if code < 0 else self.values[code].as_py()

    def blank(self) -> np.ndarray:
        """(N,) bool: nothing, or nothing but spaces."""
        return np.append(is_blank(self.values), True)[self.codes]


def ids(raw: Raw, column: str) -> Ids:
    """A column of ids. Raises ``DataError`` for a line break within an id of delimited text: a quote left open."""
    found = encoded(raw.table[column], column, raw.path)
    if raw.delimited:
        broken = pc.fill_null(pc.match_substring(found.values, "\n"), False).to_numpy(zero_copy_only=False)
        if broken.any():
            row = int(np.flatnonzero(np.append(broken, False)[found.codes])[0])
            raise _open_quote(raw, column, row, found.text(row))
    return found


def id_texts(raw: Raw, column: str) -> pa.Array:
    """(N,) strings; raises as ``ids``."""
    texts = as_text(raw.table[column], column, raw.path)
    if raw.delimited:
        broken = np.flatnonzero(pc.fill_null(pc.match_substring(texts, "\n"), False).to_numpy(zero_copy_only=False))
        if len(broken):
            raise _open_quote(raw, column, int(broken[0]), texts[int(broken[0])].as_py())
    return texts


def _open_quote(raw: Raw, column: str, row: int, value: str | None) -> DataError:
    reason = f"column {column!r} has a line break in {str(value)[:60]!r}"
    return DataError(reason, where=f"{raw.path}:{raw.first_row + row}", remedy="close the quote there")


def encoded(column: pa.ChunkedArray, name: str, path: Path) -> Ids:
    """Any column as ``Ids``."""
    if not pa.types.is_dictionary(column.type) or column.num_chunks > 1:
        encoder = Encoder()
        for chunk in column.chunks:
            encoder.add(chunk)
        column = encoder.column()
    chunk = column.chunk(0)
    texts = as_text(pa.chunked_array([chunk.dictionary]), name, path).dictionary_encode()
    place = np.append(pc.fill_null(texts.indices, -1).to_numpy(zero_copy_only=False), -1).astype(np.int32)
    return Ids(place[pc.fill_null(chunk.indices, -1).to_numpy(zero_copy_only=False)], texts.dictionary)


def is_blank(texts: pa.Array) -> np.ndarray:
    """(N,) bool: null, empty, or nothing but spaces."""
    blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(texts), ""), True)
    return blank.to_numpy(zero_copy_only=False)


def numbers(column: pa.ChunkedArray, name: str, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(N,) float64, NaN where there is no number, and (N,) bool: nothing is given."""
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        values = pd.Series(column.cast(pa.float64(), safe=False).to_numpy())
        return values.to_numpy(), np.isnan(values.to_numpy())
    texts = as_text(column, name, path)
    try:
        return texts.cast(pa.float64()).to_numpy(zero_copy_only=False), is_blank(texts)
    except pa.ArrowException:
        pass  # something in it is no number: the slower way finds out which
    values = pd.to_numeric(pd.Series(texts.to_numpy(zero_copy_only=False), dtype=object), errors="coerce")
    return values.to_numpy(dtype=np.float64), is_blank(texts)


def seconds(
    column: pa.ChunkedArray, name: str, path: Path, findings: Findings, first_row: int = 1
) -> np.ndarray | None:
    """(N,) float64 seconds since 1970, NaN where there is no time; None if the column is blank throughout.

    Numbers are seconds, milliseconds, microseconds or nanoseconds by the magnitude of most; one that is plainly in
    another unit is read in that, which is counted as a problem. Texts are numbers or ISO 8601 (UTC where they name no
    zone). Raises ``DataError`` if not one value can be read.
    """
    if column.null_count == len(column):
        findings.note(f"{path.name}: column {name!r} is empty, so there are no timestamps")
        return None
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        stamps = column.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None)), safe=False).cast(pa.int64())
        return pc.divide(stamps.cast(pa.float64()), 1e6).to_numpy()
    values, blank = numbers(column, name, path)
    if blank.all():
        findings.note(f"{path.name}: column {name!r} is empty, so there are no timestamps")
        return None
    values = np.where(np.isfinite(values), values, np.nan)
    if not np.isnan(values).all():
        values = _in_seconds(values, column, path, findings, first_row)
    left = np.flatnonzero(np.isnan(values) & ~blank)
    if len(left) and not pa.types.is_floating(column.type):
        for at in range(0, len(left), _DATES):
            some = left[at : at + _DATES]
            values[some] = _dates(as_text(column.take(pa.array(some)), name, path).to_pylist())
    if np.isnan(values).all():
        example = next(value for value, empty in zip(column.to_pylist(), blank, strict=True) if not empty)
        raise DataError(
            f"no timestamp in column {name!r} can be read (the first is {example!r})",
            where=path,
            remedy="write seconds since 1970 or ISO 8601, or remove the column",
        )
    return values


def _in_seconds(
    values: np.ndarray, column: pa.ChunkedArray, path: Path, findings: Findings, first_row: int
) -> np.ndarray:
    most = _unit(np.array([float(np.nanmedian(np.abs(values)))]))[0]
    if most:
        findings.note(f"{path.name}: timestamps are taken as {_UNITS[most][2]}")
    own = _unit(values)
    odd = np.flatnonzero((own != most) & (np.abs(values) >= _CLEAR))
    for unit in np.unique(own[odd]):
        rows = odd[own[odd] == unit]
        kind = f"timestamp in {_UNITS[unit][2]}, most are {_UNITS[most][2]}"
        cells = column.take(pa.array(rows))
        findings.add(kind, f"read as {_UNITS[unit][2]}", path, first_row + rows, partial(_cell, cells))
    if not len(odd):
        return values / _UNITS[most][1] if most else values
    divisors = np.full(len(values), _UNITS[most][1])
    divisors[odd] = np.array([unit[1] for unit in _UNITS])[own[odd]]
    return values / divisors


def _cell(cells: pa.ChunkedArray, k: int) -> object:
    return cells[k].as_py()


def _unit(values: np.ndarray) -> np.ndarray:
    """(N,) place in ``_UNITS`` by magnitude."""
    return np.searchsorted([unit[0] for unit in _UNITS[1:]], np.abs(values), side="right") * np.isfinite(values)


def _dates(texts: list[str | None]) -> np.ndarray:
    """(n,) seconds since 1970 of ISO 8601, NaN for what is none."""
    dates = pd.to_datetime(pd.Series(texts, dtype=object), format="ISO8601", errors="coerce", utc=True)
    found = dates.dt.tz_localize(None).astype("datetime64[us]")
    return np.where(found.isna(), np.nan, found.astype(np.int64).to_numpy() / 1e6)


def implausible(times: np.ndarray) -> dict[str, np.ndarray]:
    """Kind -> (N,) bool: times that stand alone outside 1970 to 2100 (-1 for unknown, a slip of the keyboard)."""
    middle = float(np.nanmedian(times))
    found = {}
    if middle >= 0:
        found["timestamp before 1970"] = times < 0
    if middle <= _FUTURE:
        found["timestamp after 2100"] = times > _FUTURE
    return found
