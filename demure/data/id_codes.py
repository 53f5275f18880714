"""Ids as codes, batch by batch: of a file of a hundred million rows, memory holds a code per row."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from demure.data.nested import nested_to_json

_UNIFY_AFTER = 1 << 23  # rows between two unifications of dictionaries


class IdEncoder:
    """One column, as codes in order of first appearance."""

    def __init__(self) -> None:
        self._dictionary: pa.Array | None = None
        self._codes: list[pa.Array] = []
        self._new: list[pa.DictionaryArray] = []
        self._new_rows = 0

    def add(self, values: pa.Array) -> None:
        """Append the values of the next rows."""
        if pa.types.is_dictionary(values.type):  # its order is the order of the file, not of appearance
            values = values.dictionary_decode()
        if pa.types.is_nested(values.type):
            values = pa.array([nested_to_json(value) for value in values.to_pylist()], pa.string())
        self._new.append(values.dictionary_encode())
        self._new_rows += len(values)
        if self._new_rows >= _UNIFY_AFTER:
            self._unify()

    def column(self) -> pa.ChunkedArray:
        """Return all rows as one chunk of dictionary type; the dictionary has no null."""
        self._unify()
        codes = pa.concat_arrays(self._codes or [pa.array([], pa.int32())])
        dictionary = self._dictionary if self._dictionary is not None else pa.array([], pa.string())
        return pa.chunked_array([pa.DictionaryArray.from_arrays(codes, dictionary)])

    def _unify(self) -> None:
        if not self._new:
            return
        before = []
        if self._dictionary is not None:
            before = [pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), self._dictionary)]
        unified = pa.chunked_array([*before, *self._new]).unify_dictionaries()
        self._dictionary = unified.chunk(0).dictionary
        self._codes += [chunk.indices for chunk in unified.chunks[len(before) :]]
        self._new, self._new_rows = [], 0


class TableBuilder:
    """Batches that become one table; the columns for which ``is_encoded`` holds become dictionaries.

    With a ``sink``, each batch goes there, and the table has no rows.
    """

    def __init__(
        self, names: list[str], is_encoded: Callable[[str], bool], sink: Callable[[pa.Table], None] | None = None
    ) -> None:
        self.names, self._sink = names, sink
        self._encoders = {name: IdEncoder() for name in names if is_encoded(name)}
        self._arrays: dict[str, list[pa.Array]] = {name: [] for name in names if name not in self._encoders}
        self.rows = 0

    def add(self, columns: list[pa.Array], rows: int) -> None:
        """Append a batch: one array for each of ``names``."""
        self.rows += rows
        if self._sink is not None:
            self._sink(pa.table(columns, names=self.names))
            columns = [column.slice(0, 0) for column in columns]
        for name, column in zip(self.names, columns, strict=True):
            if name in self._encoders:
                self._encoders[name].add(column)
            else:
                self._arrays[name].append(column)

    def table(self) -> pa.Table:
        """Return all rows; call it once there are rows."""
        columns = {
            name: self._encoders[name].column() if name in self._encoders else pa.chunked_array(self._arrays[name])
            for name in self.names
        }
        return pa.table(columns)
