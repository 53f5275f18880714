"""The columns of an items file: which of them is the id, which are texts, and which are attributes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from demure.data.nested import normalize_name
from demure.errors import DataError
from demure.features.kinds import plural
from demure.preparation.problems import Findings
from demure.preparation.reading.columns import (
    ALWAYS_TEXT,
    DATE_NAMES,
    ITEM_ID_NAMES,
    TEXT_NAMES,
    find_column,
    is_behaviour,
    note_choice,
    require_column,
    role_candidates,
)
from demure.preparation.reading.list_text import CellError, parse_cell
from demure.preparation.reading.parsing import is_blank, read_id_texts, to_text
from demure.preparation.reading.raw_table import RawTable
from demure.preparation.reading.times import TimeColumn, read_times

_NUMBER = re.compile(r"^[\s$€£]*[-+]?[\d.,]+(e[-+]?\d+)?\s*%?$", re.IGNORECASE)
_TRUTH_VALUE = re.compile(r"^\s*(true|false|yes|no|t|f|y|n)\s*$", re.IGNORECASE)
URL = re.compile(r"^\s*((https?|ftp):)?//", re.IGNORECASE)
_CANONICAL = {name: role for role, names in TEXT_NAMES.items() for name in names} | {
    "genre": "genres",
    "category": "categories",
}
_SAMPLE = 1000  # values of a column that decide whether it is text
_FITS = 0.5  # share of the items of the interactions that the ids of a column must have


@dataclass(frozen=True)
class ItemIds:
    """The distinct ids of the items of the interactions, and the name of their column there."""

    ids: pa.Array
    column: str


def find_id_column(raw: RawTable, chosen: ItemIds | None, findings: Findings) -> tuple[str, pa.Array]:
    """Return the column of ids, and its texts (N,).

    Of several that may be it, this is the first that has most of the items of the interactions: first the column that
    has the same name there, then by name. Raises ``DataError`` without such a column.
    """
    candidates = role_candidates(raw.column_names, "item_id", items=True)
    if chosen is not None:
        same = [name for name in raw.column_names if normalize_name(name) == normalize_name(chosen.column)]
        candidates = list(dict.fromkeys([*same, *candidates]))
    if not candidates or (len(candidates) == 1 and chosen is None):
        column = require_column(raw.column_names, "item_id", raw.path, findings, items=True)
        return column, read_id_texts(raw, column)
    shares: dict[str, float] = {}
    for column in candidates:
        texts = read_id_texts(raw, column)
        shares[column] = _share(texts, chosen)
        if shares[column] >= _FITS:
            note_choice(column, candidates, "item_id", raw.path, findings)
            return column, texts
    others = [] if chosen is None else [name for name in raw.column_names if name not in shares]
    fitting = next((name for name in others if _share(to_text(raw.table[name], name, raw.path), chosen) >= _FITS), None)
    if fitting is not None and not max(shares.values()):
        problem = f"has the items of the interactions in column {fitting!r}, not in {', '.join(map(repr, candidates))}"
        raise DataError(problem, where=raw.path, remedy=f"say --columns items.item={fitting}")
    best = max(candidates, key=lambda name: shares[name])
    note_choice(best, candidates, "item_id", raw.path, findings)
    return best, read_id_texts(raw, best)


def _share(texts: pa.Array, chosen: ItemIds | None) -> float:
    """Return the share of the items of the interactions that ``texts`` has; without these, of values that are there."""
    if chosen is None or not len(chosen.ids):
        return float(1 - is_blank(texts).mean()) if len(texts) else 0.0
    return float(pc.mean(pc.is_in(chosen.ids, value_set=texts)).as_py())


def read_columns(
    raw: RawTable, id_column: str, findings: Findings, files: Sequence[str] = ("image",)
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the texts and the names of ``files`` (kinds of ``FILES``), and the attributes: columns that are neither,
    and not only addresses.

    Columns that sum up what users did are neither.
    """
    others = [name for name in raw.column_names if name != id_column]
    file_columns = {kind: find_column(others, kind, raw.path, findings, items=True) for kind in files}
    columns: dict[str, np.ndarray] = {}
    attributes: dict[str, np.ndarray] = {}
    left_out: list[str] = []
    behaviour = [name for name in raw.column_names if is_behaviour(name)]
    for name in raw.column_names:
        short = normalize_name(name)
        if name in (id_column, *file_columns.values(), *behaviour) or not short or short.startswith("unnamed"):
            continue
        values = _read_values(raw, name)
        if short == "rating" and not _is_text(name, raw.table[name].type, values):
            behaviour.append(name)
            continue
        if not _is_text(name, raw.table[name].type, values):
            if _is_attribute(values):
                attributes[name] = values
            else:
                left_out.append(name)
            continue
        canonical = _CANONICAL.get(short, name)
        is_taken = canonical in columns or canonical in raw.column_names or canonical in ("item_id", *files)
        columns[name if is_taken else canonical] = values
    if left_out:
        findings.note(f"{raw.path.name}: columns without text are left out: {', '.join(left_out)}")
    if attributes:
        kept = ", ".join(list(attributes)[:8])
        findings.note(f"{raw.path.name}: columns without text are kept as attributes: {kept} (extract --attributes)")
    if behaviour:
        findings.note(
            f"{raw.path.name}: {', '.join(behaviour)} left out: sums over all users and all times would give the "
            "held-out part away"
        )
    for kind, column in file_columns.items():
        if column is not None:
            columns[kind] = first_files(_read_values(raw, column), kind, raw.path, findings)
    attributes = {name: values for name, values in attributes.items() if name not in columns}
    return columns, attributes


def absolute_url(cell: str) -> str:
    """Return a cell as a URL: one without a scheme (``//cdn.example/1.jpg``), as pages have it, is https."""
    url = cell.strip()
    return f"https:{url}" if url.startswith("//") else url


def first_files(values: np.ndarray, kind: str, path: Path, findings: Findings) -> np.ndarray:
    """Return the cells of a ``kind`` of files (N,), with the first file where a cell is a list in text."""
    images = values.copy()
    for k, value in enumerate(values):
        if value is not None and value.strip().startswith(("[", "(")):
            try:
                listed = parse_cell(value)
            except CellError:
                listed = None
            if listed is not None:
                images[k] = next((image for image in listed if image and image.strip()), None)
    n_lists = int((images != values).sum())
    if n_lists:
        findings.note(f"{path.name}: {n_lists} cells of {plural(kind)} are lists: the first {kind} of each is taken")
    return images


def read_dates(raw: RawTable, findings: Findings) -> np.ndarray | None:
    """Return seconds since 1970 (N,), or NaN, of the first column that says when an item appeared; None without one."""
    name = next((name for name in raw.column_names if normalize_name(name) in DATE_NAMES), None)
    if name is None:
        return None
    try:
        dates = read_times(TimeColumn(raw.table[name], name, raw.path, raw.row_numbers, of_items=True), findings)
    except DataError as error:
        findings.note(f"{raw.path.name}: the items have no dates for the check of leaks: {error.problem}")
        return None
    if dates is not None:
        findings.note(f"{raw.path.name}: column {name!r} is taken as the items' dates, for the check of leaks")
    return dates


def _read_values(raw: RawTable, name: str) -> np.ndarray:
    texts = to_text(raw.table[name], name, raw.path)
    values = np.array(texts.to_pylist(), dtype=object)
    values[is_blank(texts)] = None
    return values


def _sample(values: np.ndarray) -> list[str]:
    present = [value for value in values if value is not None]
    return present[:: max(1, len(present) // _SAMPLE)]


def _is_text(name: str, kind: pa.DataType, values: np.ndarray) -> bool:
    """Return whether a column is text: by its name, or because most of it is neither number, yes or no, nor URL."""
    sample = _sample(values)
    if not sample or normalize_name(name) in ALWAYS_TEXT:
        return bool(sample)
    if pa.types.is_primitive(kind):
        return False
    if normalize_name(name) in ITEM_ID_NAMES and not any(re.search(r"\s", value) for value in sample):
        return False  # ids of another catalogue
    is_other = (_NUMBER.match(value) or _TRUTH_VALUE.match(value) or URL.match(value) for value in sample)
    return sum(map(bool, is_other)) * 2 < len(sample)


def _is_attribute(values: np.ndarray) -> bool:
    """Return whether a column has values of which less than half are addresses."""
    sample = _sample(values)
    return bool(sample) and sum(bool(URL.match(value)) for value in sample) * 2 < len(sample)
