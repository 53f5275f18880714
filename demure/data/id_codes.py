"""Ids as numbers, batch by batch: what a file of a hundred million rows holds in memory is a code per row."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from demure.data.nested import flat

_SETTLE = 1 << 23  # rows between two unifications of dictionaries


class Encoder:
    """One column, as codes in order of first appearance."""

    def __init__(self) -> None:
        self._dictionary: pa.Array | None = None
        self._codes: list[pa.Array] = []
        self._new: list[pa.DictionaryArray] = []
        self._rows = 0

    def add(self, values: pa.Array) -> None:
        """The values of the next rows."""
        if pa.types.is_dictionary(values.type):  # its order is the file's, not that of appearance
            values = values.dictionary_decode()
        if pa.types.is_nested(values.type):
            values = pa.array([flat("", value) for value in values.to_pylist()], pa.string())
        self._new.append(values.dictionary_encode())
        self._rows += len(values)
        if self._rows >= _SETTLE:
            self._settle()

    def column(self) -> pa.ChunkedArray:
        """All rows, in one chunk; the dictionary has no null."""
        self._settle()
        codes = pa.concat_arrays(self._codes or [pa.array([], pa.int32())])
        dictionary = self._dictionary if self._dictionary is not None else pa.array([], pa.string())
        return pa.chunked_array([pa.DictionaryArray.from_arrays(codes, dictionary)])

    def _settle(self) -> None:
        if not self._new:
            return
        known = []
        if self._dictionary is not None:
            known = [pa.DictionaryArray.from_arrays(pa.array([], pa.int32()), self._dictionary)]
        unified = pa.chunked_array([*known, *self._new]).unify_dictionaries()
        self._dictionary = unified.chunk(0).dictionary
        self._codes += [chunk.indices for chunk in unified.chunks[len(known) :]]
        self._new, self._rows = [], 0


class Collector:
    """Batches into one table; the columns for which ``encoded`` holds become dictionaries."""

    def __init__(self, names: list[str], encoded: Callable[[str], bool]) -> None:
        self.names = names
        self._encoders = {name: Encoder() for name in names if encoded(name)}
        self._arrays: dict[str, list[pa.Array]] = {name: [] for name in names if name not in self._encoders}
        self.rows = 0

    def add(self, columns: list[pa.Array], rows: int) -> None:
        """A batch: one array for each of ``names``."""
        self.rows += rows
        for name, column in zip(self.names, columns, strict=True):
            if name in self._encoders:
                self._encoders[name].add(column)
            else:
                self._arrays[name].append(column)

    def table(self) -> pa.Table:
        """What was added; call it once there are rows."""
        columns = {
            name: self._encoders[name].column() if name in self._encoders else pa.chunked_array(self._arrays[name])
            for name in self.names
        }
        return pa.table(columns)
