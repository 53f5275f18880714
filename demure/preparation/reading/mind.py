"""MIND: impressions, of which each is an item and whether it was clicked (``N55689-1 N35729-0``), and news."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from demure.data.nested import normalize_name
from demure.errors import DataError
from demure.preparation.problems import Findings
from demure.preparation.reading.columns import ColumnSelection
from demure.preparation.reading.compression import read_head
from demure.preparation.reading.delimited import read_delimited
from demure.preparation.reading.header import first_line
from demure.preparation.reading.raw_table import RawTable, RowNumbers

_BEHAVIORS = ["impression_id", "user_id", "timestamp", "history", "impressions"]
_NEWS = ["item_id", "category", "subcategory", "title", "abstract", "url", "title_entities", "abstract_entities"]
_IMPRESSIONS = re.compile(r"^\s*\S+-[01](\s+\S+-[01])*\s*$")


def is_mind(first: str) -> bool:
    """Return whether a file begins as behaviors.tsv or news.tsv do, or names a column of impressions."""
    fields = first.split("\t")
    is_news = len(fields) == len(_NEWS) and re.fullmatch(r"N\d+", fields[0]) is not None
    is_behaviors = len(fields) == len(_BEHAVIORS) and _IMPRESSIONS.match(fields[-1]) is not None
    return is_news or is_behaviors or _has_header(fields)


def _has_header(fields: list[str]) -> bool:
    return "impressions" in {normalize_name(field) for field in fields}


def read_mind(path: Path, findings: Findings, selection: ColumnSelection) -> RawTable:
    """Read behaviors.tsv, a row for each item of each impression with its ``label``, or news.tsv.

    Raises ``DataError`` with its number for a row whose impressions have no labels.
    """
    fields = first_line(read_head(path)).split("\t")
    if selection.items:
        header = None if len(fields) != len(_NEWS) or normalize_name(fields[0]) in ("newsid", "itemid") else _NEWS
        raw = read_delimited(path, findings, selection, delimiter="\t", header=header, quotes=False)
        entities = [name for name in raw.column_names if normalize_name(name) in ("titleentities", "abstractentities")]
        if entities:
            findings.note(f"{path.name}: columns that are not used: {', '.join(entities)}")
        names = [name for name in raw.column_names if name not in entities]
        return replace(raw, table=raw.table.select(names), column_names=names)
    header = None if _has_header(fields) else _BEHAVIORS
    every_column = replace(selection, items=True, column_of_role={})
    raw = read_delimited(path, findings, every_column, delimiter="\t", header=header, quotes=False)
    name = next((name for name in raw.column_names if normalize_name(name) == "impressions"), None)
    if name is None:
        raise DataError("has no column of impressions", where=path, remedy="check --format")
    texts = pc.utf8_trim_whitespace(raw.table[name].combine_chunks())
    has_labels = pc.match_substring_regex(texts, rf"{_IMPRESSIONS.pattern}|^$").to_numpy(zero_copy_only=False)
    unlabelled = np.flatnonzero(~has_labels)
    if len(unlabelled):
        row = int(raw.row_numbers.of(unlabelled[:1])[0])
        problem = f"has impressions without clicks: {texts[int(unlabelled[0])].as_py()[:60]!r}"
        raise DataError(problem, where=f"{path}:{row}", remedy="write them as N1-1 N2-0, where 1 is a click")
    texts = pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
    pairs = pc.split_pattern_regex(texts, r"\s+")
    parents = pc.list_parent_indices(pairs)
    parts = pc.extract_regex(pc.list_flatten(pairs), r"^(?P<item>.*)-(?P<label>[01])$")
    kept = [column for column in raw.column_names if column != name and ColumnSelection().includes(column)]
    table = raw.table.select(kept).take(parents)
    table = table.append_column("item_id", parts.field("item")).append_column("label", parts.field("label"))
    numbers = raw.row_numbers.of(parents.to_numpy())
    findings.note(f"{path.name}: an impression is a row for each of its items, with label 1 where it was clicked")
    columns = [column for column in raw.column_names if column != name] + ["item_id", "label"]
    return RawTable(path, table, RowNumbers(numbers=numbers), columns, delimited=True)
