"""Columns as values: ids and texts as strings, times as seconds, ratings as numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from demure.data.problems import Findings
from demure.data.tables import Raw, flat
from demure.errors import DataError

# Seconds of today are near 1.7e9; each unit is a thousand times the one before.
_UNITS = [(1e17, 1e9, "nanoseconds"), (1e14, 1e6, "microseconds"), (1e11, 1e3, "milliseconds")]


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


def ids(raw: Raw, column: str) -> pa.Array:
    """(N,) strings. Raises ``DataError`` for a line break within an id of delimited text: a quote left open."""
    texts = as_text(raw.table[column], column, raw.path)
    if raw.delimited:
        broken = np.flatnonzero(pc.fill_null(pc.match_substring(texts, "\n"), False).to_numpy(zero_copy_only=False))
        if len(broken):
            raise DataError(
                f"column {column!r} has a line break in {texts[int(broken[0])].as_py()[:60]!r}",
                where=f"{raw.path}:{raw.first_row + int(broken[0])}",
                remedy="close the quote there",
            )
    return texts


def is_blank(texts: pa.Array) -> np.ndarray:
    """(N,) bool: null, empty, or nothing but spaces."""
    blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(texts), ""), True)
    return blank.to_numpy(zero_copy_only=False)


def codes(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Codes (N,) int64 in order of first appearance, -1 for null, and the distinct strings (n,) object."""
    encoded = texts.dictionary_encode()
    indices = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return indices, np.array(encoded.dictionary.to_pylist(), dtype=object)


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


def seconds(column: pa.ChunkedArray, name: str, path: Path, findings: Findings) -> np.ndarray | None:
    """(N,) float64 seconds since 1970, NaN where there is no time; None if the column is blank throughout.

    Numbers are seconds, milliseconds, microseconds or nanoseconds by their magnitude, one unit for the column; texts
    are numbers or ISO 8601 (UTC where they name no zone). Raises ``DataError`` if not one value can be read.
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
        size = float(np.nanmedian(np.abs(values)))
        for least, divisor, unit in _UNITS:
            if size >= least:
                findings.note(f"{path.name}: timestamps are taken as {unit}")
                values = values / divisor
                break
    left = np.flatnonzero(np.isnan(values) & ~blank)
    if len(left) and not pa.types.is_floating(column.type):
        texts = as_text(column, name, path).take(pa.array(left)).to_pylist()
        dates = pd.to_datetime(pd.Series(texts, dtype=object), format="ISO8601", errors="coerce", utc=True)
        there = dates.notna().to_numpy()
        microseconds = dates[there].dt.tz_localize(None).astype("datetime64[us]").astype(np.int64)
        values[left[there]] = microseconds.to_numpy() / 1e6
    if np.isnan(values).all():
        example = next(value for value, empty in zip(column.to_pylist(), blank, strict=True) if not empty)
        raise DataError(
            f"no timestamp in column {name!r} can be read (the first is {example!r})",
            where=path,
            remedy="write seconds since 1970 or ISO 8601, or remove the column",
        )
    return values
