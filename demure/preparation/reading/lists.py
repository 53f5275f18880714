"""Cells that hold lists of ids: a user's items in one cell become a row each."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from demure.data.nested import nested_to_json
from demure.errors import DataError
from demure.preparation.problems import Findings
from demure.preparation.reading.columns import find_column
from demure.preparation.reading.list_text import CellError, Values, has_one_number, parse_bare_list, parse_cell
from demure.preparation.reading.parsing import encode_column
from demure.preparation.reading.raw_table import RawTable, RowNumbers

_OF_ONE_INTERACTION = ("timestamp", "rating", "event", "split")


def unroll_lists(raw: RawTable, findings: Findings) -> RawTable:
    """Return the interactions with a row for each id of a list of ids; a table without lists as it is.

    Lists in other columns of the row are taken element by element if they are as long; single values are repeated.
    Raises ``DataError`` with its row for an object, and for a list that is not as long as the one of the ids.
    """
    ids = [find_column(raw.column_names, role, raw.path, Findings()) for role in ("user_id", "item_id")]
    roles = [find_column(raw.column_names, role, raw.path, Findings()) for role in _OF_ONE_INTERACTION]
    columns = {name: _parse_column(raw, name, is_id=True) for name in ids if name is not None}
    if len(columns) < 2 or not any(column.has_lists for column in columns.values()):
        nested = next((name for name in roles if name and pa.types.is_nested(raw.table[name].type)), None)
        if nested is not None and len(columns) == 2:
            raise _not_as_long(raw, 0, nested, str(ids[1]))
        return raw
    lengths = np.ones(len(raw.table), dtype=np.int64)
    is_list = np.zeros(len(lengths), dtype=bool)
    for name, column in columns.items():
        differs = np.flatnonzero(is_list & column.is_list & (column.lengths != lengths))
        if len(differs):
            raise _not_as_long(raw, int(differs[0]), str(ids[0]), name)
        lengths = np.where(column.is_list, column.lengths, lengths)
        is_list |= column.is_list
    parents = np.repeat(np.arange(len(lengths)), lengths)
    arrays = {}
    for name in raw.table.column_names:
        column = columns.get(name) or _parse_column(raw, name, is_id=False)
        differs = np.flatnonzero(column.is_list & (column.lengths != lengths))
        if len(differs) and name in roles:
            raise _not_as_long(raw, int(differs[0]), name, str(ids[1]))
        is_unrolled = column.has_lists and not len(differs)
        array = column.unroll(lengths) if is_unrolled else raw.table[name].take(pa.array(parents))
        arrays[name] = array.dictionary_encode() if is_unrolled and name in columns else array
    empty = np.flatnonzero(lengths == 0)
    findings.add("empty list of ids", "dropped", raw.path, raw.row_numbers.of(empty), lambda k: "[]")
    holders = " and ".join(repr(name) for name, column in columns.items() if column.has_lists)
    findings.note(f"{raw.path.name}: lists in {holders}: {len(lengths)} rows became {len(parents)}")
    if not len(parents):
        raise DataError("has no ids, only empty lists", where=raw.path, remedy="give a file with rows")
    return replace(raw, table=pa.table(arrays), row_numbers=RowNumbers(numbers=raw.row_numbers.of(parents)))


def refuse_lists(raw: RawTable, name: str) -> None:
    """Raise ``DataError`` with its row if the column of the items' ids holds a list or an object."""
    row = raw.first_nested.get(name)
    column = None if row is not None else _parse_column(raw, name, is_id=True)
    if column is not None and column.has_lists:
        row = int(np.flatnonzero(column.is_list)[0])
    if row is not None:
        problem = f"column {name!r} holds a list or an object, not one id"
        raise DataError(problem, where=_place(raw, row), remedy="write one row per item")


@dataclass(frozen=True)
class _ParsedColumn:
    """N cells: ``codes`` (N,) into ``texts`` and the ``values`` of those that are lists; -1 for no value."""

    codes: np.ndarray
    texts: list[str]
    values: list[Values | None]

    @property
    def is_list(self) -> np.ndarray:
        """Return (N,) bool."""
        mask: np.ndarray = np.array([*(values is not None for values in self.values), False], dtype=bool)[self.codes]
        return mask

    @property
    def has_lists(self) -> bool:
        """Return whether any cell is a list."""
        return any(values is not None for values in self.values)

    @property
    def lengths(self) -> np.ndarray:
        """Return (N,) int64; 1 for a cell that is not a list."""
        lengths = [1 if values is None else len(values) for values in self.values]
        sizes: np.ndarray = np.array([*lengths, 1], dtype=np.int64)[self.codes]
        return sizes

    def unroll(self, lengths: np.ndarray) -> pa.Array:
        """Return the elements of the lists, and each other value as often as ``lengths`` says."""
        elements: list[str | None] = []
        for code, length in zip(self.codes.tolist(), lengths.tolist(), strict=True):
            values = None if code < 0 else self.values[code]
            elements.extend([None if code < 0 else self.texts[code]] * length if values is None else values)
        return pa.array(elements, pa.string())


def _parse_column(raw: RawTable, name: str, *, is_id: bool) -> _ParsedColumn:
    """Return the cells of a column. Raises ``DataError`` for ids that are objects, or lists in some rows of a text."""
    column = raw.table[name]
    if pa.types.is_nested(column.type):
        column = pa.chunked_array([pa.array([nested_to_json(value) for value in column.to_pylist()], pa.string())])
    elif not may_have_lists(column):
        return _ParsedColumn(np.full(len(column), -1), [], [])
    encoded = encode_column(column, name, raw.path)
    texts: list[str] = encoded.values.to_pylist()
    values: list[Values | None] = []
    for code, text in enumerate(texts):
        try:
            values.append(parse_cell(text))
        except CellError as error:
            if is_id:
                problem = f"column {name!r} holds {error}, not one id: {text[:60]!r}"
                row = int(np.flatnonzero(encoded.codes == code)[0])
                raise DataError(problem, where=_place(raw, row), remedy="write one row per interaction") from error
            values.append(None)
    plain = [code for code, text in enumerate(texts) if values[code] is None and text.strip()]
    bare = {code: parse_bare_list(texts[code]) for code in plain}
    if plain and all(bare.values()) and any("," in texts[code] for code in plain):
        values = [bare.get(code) or values[code] for code in range(len(texts))]
        plain = []
    if plain:  # among single ids, [7] is an id
        values = [None if has_one_number(text) else cell for text, cell in zip(texts, values, strict=True)]
    result = _ParsedColumn(encoded.codes, texts, values)
    if is_id and plain and raw.delimited and result.has_lists:
        row = int(np.flatnonzero(result.is_list)[0])
        problem = f"column {name!r} holds a list where other rows have one id: {texts[encoded.codes[row]][:60]!r}"
        raise DataError(problem, where=_place(raw, row), remedy="write one row per interaction")
    return result


def may_have_lists(column: pa.ChunkedArray) -> bool:
    """Return whether a value of a column of text begins as a list or an object does."""
    for chunk in column.chunks:
        values = chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk
        is_text = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
        if is_text and pc.any(pc.match_substring_regex(values, r"^\s*[\[({]")).as_py():
            return True
    return False


def _not_as_long(raw: RawTable, row: int, name: str, other: str) -> DataError:
    problem = f"the list in column {name!r} is not as long as that in {other!r}"
    return DataError(
        problem, where=_place(raw, row), remedy="give one value for each, or write one row per interaction"
    )


def _place(raw: RawTable, row: int) -> str:
    return f"{raw.path}:{raw.row_numbers.of(np.array([row]))[0]}"
