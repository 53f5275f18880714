"""The items: their ids, texts and images, from an items file, from feature files, or from the interactions alone."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from demure.data.nested import simple
from demure.errors import DataError
from demure.prepare.problems import Findings
from demure.prepare.reading.columns import ALWAYS_TEXT, DATES, OF_BEHAVIOUR, TEXTS, Wanted, find, require
from demure.prepare.reading.formats import read
from demure.prepare.reading.parsing import as_text, id_texts, is_blank
from demure.prepare.reading.tables import Raw

_NUMBER = re.compile(r"^[\s$€£]*[-+]?[\d.,]+(e[-+]?\d+)?\s*%?$", re.IGNORECASE)
URL = re.compile(r"^\s*(https?|ftp)://", re.IGNORECASE)
_CANONICAL = {name: to for to, names in TEXTS.items() for name in names} | {"genre": "genres", "category": "categories"}


@dataclass(frozen=True)
class Items:
    """``ids`` (I,) object; ``rows`` (I,) int64: the item's row, from 0, in the items file, which had ``file_rows``;
    row r is numbered ``first_row`` + r in messages.

    ``columns``: texts by name, then ``image`` if there is one; each (I,) object, None where nothing is given.
    ``dates`` (I,): when the items came into the world, seconds since 1970 or NaN, where the file tells.
    ``attributes``: the columns of numbers and codes by name, as ``columns``; they are not part of an item's text.
    """

    ids: np.ndarray
    rows: np.ndarray
    file_rows: int
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    first_row: int = 1
    dates: np.ndarray | None = None
    attributes: dict[str, np.ndarray] = field(default_factory=dict)

    def take(self, kept: np.ndarray) -> Items:
        dates = None if self.dates is None else self.dates[kept]
        columns, attributes = _rows(self.columns, kept), _rows(self.attributes, kept)
        return replace(
            self, ids=self.ids[kept], rows=self.rows[kept], columns=columns, dates=dates, attributes=attributes
        )


def _rows(columns: dict[str, np.ndarray], kept: np.ndarray) -> dict[str, np.ndarray]:
    return {name: values[kept] for name, values in columns.items()}


def read_items(path: Path, findings: Findings, wanted: Wanted) -> Items:
    """Items of a file in its order; rows without an id, and all but the first of an id, are dropped and reported."""
    raw, _ = read(path, "auto", findings, wanted)
    column = require(raw.columns, "item_id", path, findings, items=True)
    texts = id_texts(raw, column)
    numbers = raw.first_row + np.arange(raw.table.num_rows)
    blank = is_blank(texts)
    ids = np.array(texts.to_pylist(), dtype=object)
    empty = np.flatnonzero(blank)
    findings.add("item without id in the items file", "dropped", path, numbers[empty], lambda k: ids[empty[k]])
    there = np.flatnonzero(~blank)
    if not len(there):
        raise DataError(f"column {column!r} is empty", where=path, remedy="give every item an id")
    _, first = np.unique(ids[there].astype(str), return_index=True)
    kept = there[np.sort(first)]
    again = np.setdiff1d(there, kept)
    findings.add("item twice in the items file", "kept the first", path, numbers[again], lambda k: ids[again[k]])
    columns, attributes = _columns(raw, column, findings)
    columns, attributes = _rows(columns, kept), _rows(attributes, kept)
    dates = _dates(raw, findings)
    dates = None if dates is None else dates[kept]
    return Items(ids[kept], kept.astype(np.int64), raw.table.num_rows, columns, raw.first_row, dates, attributes)


def by_row(rows: int, described: Items | None, path: Path | None, findings: Findings) -> Items:
    """MMRec's items: ids 0 to ``rows`` - 1, row k of every feature file; with what an items file says about them."""
    ids = np.array([str(k) for k in range(rows)], dtype=object)
    columns: dict[str, np.ndarray] = {}
    attributes: dict[str, np.ndarray] = {}
    if described is not None and path is not None:
        known = {one: k for k, one in enumerate(described.ids)}
        place = np.array([known.get(one, -1) for one in ids], dtype=np.int64)
        strangers = np.flatnonzero(~np.isin(np.arange(len(described.ids)), place))
        kind, where = "item without a row of features", described.rows[strangers] + described.first_row
        findings.add(kind, "dropped", path, where, lambda k: described.ids[strangers[k]])
        for found, there in ((columns, described.columns), (attributes, described.attributes)):
            for name, values in there.items():
                found[name] = np.array([*values, None], dtype=object)[place]
    return Items(ids, np.arange(rows, dtype=np.int64), rows, columns, attributes=attributes)


def _columns(raw: Raw, id_column: str, findings: Findings) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The texts and the image, and the attributes: what is neither, but has values other than addresses."""
    image = find(raw.columns, "image", raw.path, findings, items=True)
    found: dict[str, np.ndarray] = {}
    attributes: dict[str, np.ndarray] = {}
    left_out, told = [], [name for name in raw.columns if simple(name) in OF_BEHAVIOUR]
    for name in raw.columns:
        if name in (id_column, image, *told) or not simple(name) or simple(name).startswith("unnamed"):
            continue
        values = _values(raw, name)
        if not _is_text(name, raw.table[name].type, values):
            if _has_values(values):
                attributes[name] = values
            else:
                left_out.append(name)
            continue
        to = _CANONICAL.get(simple(name), name)
        found[name if to in found or to in raw.columns or to in ("item_id", "image") else to] = values
    if left_out:
        findings.note(f"{raw.path.name}: columns without text are left out: {', '.join(left_out[:8])}")
    if attributes:
        kept = ", ".join(list(attributes)[:8])
        findings.note(f"{raw.path.name}: columns without text are kept as attributes: {kept} (extract --attributes)")
    if told:
        shown = ", ".join(told)
        findings.note(
            f"{raw.path.name}: {shown} left out: what all users did, at any time, would tell of the held-out part"
        )
    if image is not None:
        found["image"] = _values(raw, image)
    attributes = {name: values for name, values in attributes.items() if name not in found}
    return found, attributes


def _dates(raw: Raw, findings: Findings) -> np.ndarray | None:
    """(N,) seconds since 1970, or NaN, of the first column that tells when an item came into the world."""
    name = next((name for name in raw.columns if simple(name) in DATES), None)
    if name is None:
        return None
    texts = pd.Series(as_text(raw.table[name], name, raw.path).to_pylist(), dtype=object).str.strip()
    years = texts.str.fullmatch(r"\d{4}(\.0)?").fillna(False).astype(bool)
    texts = texts.where(~years, texts.str[:4] + "-01-01")
    found = pd.to_datetime(texts, format="mixed", errors="coerce", utc=True)
    if found.notna().sum() * 2 < texts.notna().sum():
        return None
    findings.note(f"{raw.path.name}: column {name!r} is taken as the items' dates, for the check of leaks")
    return (found - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy()


def _values(raw: Raw, name: str) -> np.ndarray:
    texts = as_text(raw.table[name], name, raw.path)
    values = np.array(texts.to_pylist(), dtype=object)
    values[is_blank(texts)] = None
    return values


def _is_text(name: str, kind: pa.DataType, values: np.ndarray) -> bool:
    """Whether a column is worth reading: more than numbers and addresses, or text by its name."""
    given = [value for value in values if value is not None]
    if not given or simple(name) in ALWAYS_TEXT:
        return bool(given)
    if pa.types.is_primitive(kind):
        return False
    sample = given[:: max(1, len(given) // 1000)]
    return sum(bool(_NUMBER.match(value) or URL.match(value)) for value in sample) * 2 < len(sample)


def _has_values(values: np.ndarray) -> bool:
    """Whether at least half of what is given is something else than addresses."""
    given = [value for value in values if value is not None]
    sample = given[:: max(1, len(given) // 1000)]
    return bool(sample) and sum(bool(URL.match(value)) for value in sample) * 2 < len(sample)
