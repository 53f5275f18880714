"""The items: their ids, texts and images, from an items file, from feature files, or from the interactions alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from demure.errors import DataError
from demure.features.kinds import FILES
from demure.preparation.item_columns import ItemIds, find_id_column, read_columns, read_dates
from demure.preparation.problems import Findings
from demure.preparation.reading.columns import ColumnSelection
from demure.preparation.reading.formats import read_raw
from demure.preparation.reading.lists import refuse_lists
from demure.preparation.reading.parsing import is_blank
from demure.preparation.reading.raw_table import RowNumbers


@dataclass(frozen=True)
class Items:
    """I items, in the order of the items file if there is one.

    Attributes:
        ids: (I,) str, as an object array.
        rows: (I,) int64: the item's row, from 0, in the items file; -1 without a file. In messages, row r has the
            number ``row_numbers.of(r)``.
        file_rows: the number of rows of the items file.
        columns: texts by name, then ``image``, ``audio`` and ``video`` if there are such files; each (I,) object, None
            where an item has no value.
        dates: (I,) when each item appeared, seconds since 1970 or NaN; None where the file does not say.
        attributes: the columns of numbers and codes, as ``columns``; they are not part of an item's text.
    """

    ids: np.ndarray
    rows: np.ndarray
    file_rows: int
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    row_numbers: RowNumbers = field(default_factory=RowNumbers)
    dates: np.ndarray | None = None
    attributes: dict[str, np.ndarray] = field(default_factory=dict)

    @classmethod
    def without_file(cls, ids: np.ndarray) -> Items:
        """Return the items ``ids`` (I,), of which nothing else is available."""
        return cls(ids, np.full(len(ids), -1, np.int64), 0)

    def files(self) -> Items:
        """Return the items with the names of their files alone."""
        columns = {name: values for name, values in self.columns.items() if name in FILES}
        return replace(self, columns=columns, dates=None, attributes={})

    def take(self, kept: np.ndarray) -> Items:
        """Return the items at the positions ``kept``."""
        return replace(
            self,
            ids=self.ids[kept],
            rows=self.rows[kept],
            columns=_take_rows(self.columns, kept),
            dates=None if self.dates is None else self.dates[kept],
            attributes=_take_rows(self.attributes, kept),
        )


def _take_rows(columns: dict[str, np.ndarray], kept: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[kept] for name, values in columns.items()}


def read_items(path: Path, findings: Findings, selection: ColumnSelection, chosen: ItemIds | None = None) -> Items:
    """Read an items file; rows without an id, and all but the first row of an id, are dropped and reported.

    ``chosen``: the ids of the interactions, which decide among columns that may be the id.
    """
    raw, _ = read_raw(path, "auto", findings, selection)
    column, texts = find_id_column(raw, chosen, findings)
    refuse_lists(raw, column)
    row_numbers = raw.row_numbers.of(np.arange(raw.table.num_rows))
    blank = is_blank(texts)
    ids = np.array(texts.to_pylist(), dtype=object)
    empty = np.flatnonzero(blank)
    findings.add("item without id in the items file", "dropped", path, row_numbers[empty], lambda k: ids[empty[k]])
    with_id = np.flatnonzero(~blank)
    if not len(with_id):
        raise DataError(f"column {column!r} is empty", where=path, remedy="give every item an id")
    _, first = np.unique(ids[with_id].astype(str), return_index=True)
    kept = with_id[np.sort(first)]
    repeated = np.setdiff1d(with_id, kept)
    findings.add(
        "item twice in the items file", "kept the first", path, row_numbers[repeated], lambda k: ids[repeated[k]]
    )
    columns, attributes = read_columns(raw, column, findings, selection.files)
    dates = read_dates(raw, findings)
    return Items(
        ids=ids[kept],
        rows=kept.astype(np.int64),
        file_rows=raw.table.num_rows,
        columns=_take_rows(columns, kept),
        row_numbers=raw.row_numbers,
        dates=None if dates is None else dates[kept],
        attributes=_take_rows(attributes, kept),
    )


def items_by_row(n_items: int, described: Items | None, path: Path | None, findings: Findings) -> Items:
    """Return MMRec's items: ids 0 to ``n_items`` - 1, row k of every feature file.

    ``described``: the items of the file ``path``, whose columns they get.
    """
    ids = np.array([str(k) for k in range(n_items)], dtype=object)
    columns: dict[str, np.ndarray] = {}
    attributes: dict[str, np.ndarray] = {}
    if described is not None and path is not None:
        position_of = {item_id: k for k, item_id in enumerate(described.ids)}
        positions = np.array([position_of.get(item_id, -1) for item_id in ids], dtype=np.int64)
        unused = np.flatnonzero(~np.isin(np.arange(len(described.ids)), positions))
        row_numbers = described.row_numbers.of(described.rows[unused])
        kind = "item without a row of features"
        findings.add(kind, "dropped", path, row_numbers, lambda k: described.ids[unused[k]])
        for target, source in ((columns, described.columns), (attributes, described.attributes)):
            for name, values in source.items():
                target[name] = np.array([*values, None], dtype=object)[positions]  # position -1 is the None
    return Items(ids, np.arange(n_items, dtype=np.int64), n_items, columns, attributes=attributes)
