"""The items: their ids, texts and images, from an items file, from feature files, or from the interactions alone."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from demure.data.nested import normalize_name
from demure.errors import DataError
from demure.preparation.problems import Findings
from demure.preparation.reading.columns import (
    ALWAYS_TEXT,
    BEHAVIOUR_NAMES,
    DATE_NAMES,
    TEXT_NAMES,
    ColumnSelection,
    find_column,
    require_column,
)
from demure.preparation.reading.formats import read_raw
from demure.preparation.reading.lists import refuse_lists
from demure.preparation.reading.parsing import is_blank, read_id_texts, to_text
from demure.preparation.reading.raw_table import RawTable, RowNumbers

_NUMBER = re.compile(r"^[\s$€£]*[-+]?[\d.,]+(e[-+]?\d+)?\s*%?$", re.IGNORECASE)
URL = re.compile(r"^\s*(https?|ftp)://", re.IGNORECASE)
_CANONICAL = {name: role for role, names in TEXT_NAMES.items() for name in names} | {
    "genre": "genres",
    "category": "categories",
}
_SAMPLE = 1000  # values of a column that decide whether it is text


@dataclass(frozen=True)
class Items:
    """I items, in the order of the items file if there is one.

    Attributes:
        ids: (I,) str, as an object array.
        rows: (I,) int64: the item's row, from 0, in the items file; -1 without a file. In messages, row r has the
            number ``row_numbers.of(r)``.
        file_rows: the number of rows of the items file.
        columns: texts by name, then ``image`` if there is one; each (I,) object, None where an item has no value.
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

    def images(self) -> Items:
        """Return the items with their images alone."""
        columns = {name: values for name, values in self.columns.items() if name == "image"}
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


def read_items(path: Path, findings: Findings, selection: ColumnSelection) -> Items:
    """Read an items file; rows without an id, and all but the first row of an id, are dropped and reported."""
    raw, _ = read_raw(path, "auto", findings, selection)
    column = require_column(raw.column_names, "item_id", path, findings, items=True)
    refuse_lists(raw, column)
    texts = read_id_texts(raw, column)
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
    columns, attributes = _read_columns(raw, column, findings)
    dates = _read_dates(raw, findings)
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


def _read_columns(
    raw: RawTable, id_column: str, findings: Findings
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the texts and the image, and the attributes: columns that are neither, and not only addresses."""
    image_column = find_column(raw.column_names, "image", raw.path, findings, items=True)
    columns: dict[str, np.ndarray] = {}
    attributes: dict[str, np.ndarray] = {}
    left_out: list[str] = []
    behaviour = [name for name in raw.column_names if normalize_name(name) in BEHAVIOUR_NAMES]
    for name in raw.column_names:
        short = normalize_name(name)
        if name in (id_column, image_column, *behaviour) or not short or short.startswith("unnamed"):
            continue
        values = _read_values(raw, name)
        if not _is_text(name, raw.table[name].type, values):
            if _is_attribute(values):
                attributes[name] = values
            else:
                left_out.append(name)
            continue
        canonical = _CANONICAL.get(short, name)
        is_taken = canonical in columns or canonical in raw.column_names or canonical in ("item_id", "image")
        columns[name if is_taken else canonical] = values
    if left_out:
        findings.note(f"{raw.path.name}: columns without text are left out: {', '.join(left_out[:8])}")
    if attributes:
        kept = ", ".join(list(attributes)[:8])
        findings.note(f"{raw.path.name}: columns without text are kept as attributes: {kept} (extract --attributes)")
    if behaviour:
        findings.note(
            f"{raw.path.name}: {', '.join(behaviour)} left out: sums over all users and all times would give the "
            "held-out part away"
        )
    if image_column is not None:
        columns["image"] = _read_values(raw, image_column)
    attributes = {name: values for name, values in attributes.items() if name not in columns}
    return columns, attributes


def _read_dates(raw: RawTable, findings: Findings) -> np.ndarray | None:
    """Return seconds since 1970 (N,), or NaN, of the first column that says when an item appeared; None without one."""
    name = next((name for name in raw.column_names if normalize_name(name) in DATE_NAMES), None)
    if name is None:
        return None
    texts = pd.Series(to_text(raw.table[name], name, raw.path).to_pylist(), dtype=object).str.strip()
    is_year = texts.str.fullmatch(r"\d{4}(\.0)?").fillna(False).astype(bool)
    texts = texts.where(~is_year, texts.str[:4] + "-01-01")
    dates = pd.to_datetime(texts, format="mixed", errors="coerce", utc=True)
    if dates.notna().sum() * 2 < texts.notna().sum():
        return None
    findings.note(f"{raw.path.name}: column {name!r} is taken as the items' dates, for the check of leaks")
    seconds: np.ndarray = (dates - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy()
    return seconds


def _read_values(raw: RawTable, name: str) -> np.ndarray:
    texts = to_text(raw.table[name], name, raw.path)
    values = np.array(texts.to_pylist(), dtype=object)
    values[is_blank(texts)] = None
    return values


def _sample(values: np.ndarray) -> list[str]:
    present = [value for value in values if value is not None]
    return present[:: max(1, len(present) // _SAMPLE)]


def _is_text(name: str, kind: pa.DataType, values: np.ndarray) -> bool:
    """Return whether a column is text: by its name, or because at most half of it is numbers and addresses."""
    sample = _sample(values)
    if not sample or normalize_name(name) in ALWAYS_TEXT:
        return bool(sample)
    if pa.types.is_primitive(kind):
        return False
    return sum(bool(_NUMBER.match(value) or URL.match(value)) for value in sample) * 2 < len(sample)


def _is_attribute(values: np.ndarray) -> bool:
    """Return whether a column has values of which less than half are addresses."""
    sample = _sample(values)
    return bool(sample) and sum(bool(URL.match(value)) for value in sample) * 2 < len(sample)
