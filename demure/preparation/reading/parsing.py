"""The values of raw columns: ids and texts as strings, ratings as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from demure.data.id_codes import IdEncoder
from demure.data.nested import value_to_text
from demure.errors import DataError
from demure.preparation.problems import Findings
from demure.preparation.reading.raw_table import RawTable

_WORDS = {"true": 1.0, "yes": 1.0, "t": 1.0, "y": 1.0, "false": 0.0, "no": 0.0, "f": 0.0, "n": 0.0}


def to_text(column: pa.ChunkedArray, name: str, path: Path) -> pa.Array:
    """Return a column as strings (N,), null where there is no value.

    Whole floats lose their ``.0``, as they were integers once. Raises ``DataError`` for a type without text.
    """
    kind = column.type
    if pa.types.is_dictionary(kind):
        return to_text(column.cast(kind.value_type), name, path)
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
        wide = column.cast(pa.float64())
        is_whole = pc.all(pc.and_(pc.equal(wide, pc.round(wide)), pc.less(pc.abs(wide), 2**53))).as_py()
        column = wide.cast(pa.int64()) if is_whole else column
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


def is_numeric(kind: pa.DataType) -> bool:
    """Return whether the values of a type are numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


@dataclass(frozen=True)
class NumberNotation:
    """How the texts of a column are read as numbers; all of them decide.

    ``is_plain``: all are numbers as Arrow reads them. ``has_decimal_commas``: see ``decimal_commas``.
    """

    is_plain: bool
    has_decimal_commas: bool

    @classmethod
    def of(cls, texts: pa.Array) -> NumberNotation:
        """Return the notation of a whole column."""
        if is_plain(texts):
            return cls(True, False)
        rows = single_commas(texts)
        return cls(False, not may_be_thousands(texts, rows))


def read_numbers(
    column: pa.ChunkedArray, name: str, path: Path, notation: NumberNotation | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers (N,) float64, NaN where a value is not a number, and (N,) bool: there is no value.

    A single comma is a decimal one, unless all commas of the column may as well separate thousands. ``notation``: that
    of the whole column, if ``column`` is a part of it.
    """
    if is_numeric(column.type):
        numbers = pd.Series(column.cast(pa.float64(), safe=False).to_numpy()).to_numpy()
        return numbers, np.isnan(numbers)
    texts = to_text(column, name, path)
    notation = notation or NumberNotation.of(texts)
    if notation.is_plain:
        return texts.cast(pa.float64()).to_numpy(zero_copy_only=False), is_blank(texts)
    values = _to_numeric(texts)  # pandas is slower, but parses the numbers among other texts
    if notation.has_decimal_commas:
        rows = single_commas(texts)
        values[rows] = _to_numeric(pc.replace_substring(texts.take(pa.array(rows)), ",", "."))
    return values, is_blank(texts)


def is_plain(texts: pa.Array) -> bool:
    """Return whether all texts are numbers as Arrow reads them, or null."""
    try:
        texts.cast(pa.float64())
    except pa.ArrowException:
        return False
    return True


def single_commas(texts: pa.Array) -> np.ndarray:
    """Return the positions of numbers with a single comma."""
    return np.flatnonzero(_matches(texts, r"^\s*[-+]?\d*,\d+\s*$"))


def may_be_thousands(texts: pa.Array, rows: np.ndarray) -> bool:
    """Return whether the commas of all ``rows`` may separate thousands (``1,500``)."""
    return bool(_matches(texts.take(pa.array(rows)), r"^\s*[-+]?[1-9]\d{0,2},\d{3}\s*$").all())


def decimal_commas(texts: pa.Array) -> np.ndarray:
    """Return the positions of numbers with a single comma, which is then a decimal one (``4,5``).

    There are none if all these commas may as well separate thousands (``1,500``).
    """
    rows = single_commas(texts)
    return rows[:0] if may_be_thousands(texts, rows) else rows


def read_ratings(
    column: pa.ChunkedArray, name: str, path: Path, findings: Findings, notation: NumberNotation | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return ratings as ``read_numbers``; true and yes are 1, false and no 0."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.string())
    ratings, blank = read_numbers(column, name, path, notation)
    unread = np.flatnonzero(np.isnan(ratings) & ~blank)
    if len(unread):
        words = encode_column(column.take(pa.array(unread)), name, path)
        numbers = [_WORDS.get(word.strip().lower(), np.nan) for word in words.values.to_pylist()]
        ratings[unread] = np.array([*numbers, np.nan])[words.codes]
        if np.isfinite(ratings[unread]).any():
            findings.note(f"{path.name}: column {name!r}: true and yes are taken as 1, false and no as 0")
    if pa.types.is_string(column.type):
        texts = to_text(column, name, path)
        rows = decimal_commas(texts) if notation is None else single_commas(texts)
        if len(rows) and (notation is None or notation.has_decimal_commas):
            example = texts[int(rows[0])].as_py()
            findings.note(f"{path.name}: column {name!r} has decimal commas: {example} is {ratings[rows[0]]:g}")
    return ratings, blank


def _to_numeric(texts: pa.Array) -> np.ndarray:
    values = pd.to_numeric(pd.Series(texts.to_numpy(zero_copy_only=False), dtype=object), errors="coerce")
    return values.to_numpy(dtype=np.float64).copy()


def _matches(texts: pa.Array, pattern: str) -> np.ndarray:
    matches: np.ndarray = pc.fill_null(pc.match_substring_regex(texts, pattern), False).to_numpy(zero_copy_only=False)
    return matches
