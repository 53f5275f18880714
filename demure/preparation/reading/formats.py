"""The formats of raw files: recognised by name and content, read into one table."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from demure.data.nested import normalize_name
from demure.errors import DataError
from demure.plugins import READERS, load_plugins, refuse_taken
from demure.preparation.problems import Findings
from demure.preparation.reading import special_formats
from demure.preparation.reading.added import AddedReader
from demure.preparation.reading.columns import ColumnSelection
from demure.preparation.reading.compression import read_head
from demure.preparation.reading.delimited import read_delimited
from demure.preparation.reading.header import first_line, sniff_delimiter
from demure.preparation.reading.jsonl import is_json, read_jsonl
from demure.preparation.reading.lists import unroll_lists
from demure.preparation.reading.mind import is_mind, read_mind
from demure.preparation.reading.parquet import is_parquet, parquet_files, read_parquet
from demure.preparation.reading.raw_table import RawTable

FORMATS = (
    "auto", "csv", "parquet", "jsonl", "recbole", "mmrec", "amazon", "movielens", "microlens", "mind", "hm", "yelp",
    "cornac",
)  # fmt: skip
_COMPRESSION_SUFFIX = re.compile(r"\.(gz|zst|zstd|bz2)$")


def format_names() -> tuple[str, ...]:
    """Return ``FORMATS`` and those of other packages. Raises ``DemureError`` for a package that cannot be used."""
    return (*FORMATS, *_added_readers())


def _added_readers() -> dict[str, Any]:
    added = load_plugins(READERS)
    refuse_taken(READERS, added, FORMATS)
    for name, read in added.items():
        if not callable(read):
            raise DataError(f"{name!r} is {read!r}", where=READERS, remedy="it must be a function of a path")
    return added


def recognise_format(path: Path) -> str:
    """Return the format of a file, any of ``FORMATS`` but auto and cornac, by its first lines and then its name.

    Raises ``DataError`` if the file is empty or cannot be read.
    """
    if path.is_dir() and parquet_files(path):
        return "parquet"
    head = read_head(path)
    if is_parquet(head):
        return "parquet"
    first = first_line(head).lstrip()
    if first.startswith(("{", "[")):
        return _recognise_objects({normalize_name(key) for key in _object_keys(first)})
    if special_formats.atomic_delimiter(first):
        return "recbole"
    fields = [field.strip() for field in first.split(sniff_delimiter(first))]
    names = {normalize_name(field) for field in fields}
    file_name = _COMPRESSION_SUFFIX.sub("", path.name.lower())
    if file_name.endswith(".inter") or {"itemid", "xlabel"} <= names:
        return "mmrec"
    if special_formats.is_movielens(first, file_name):
        return "movielens"
    if is_mind(first):
        return "mind"
    if {"customerid", "articleid"} <= names or {"articleid", "prodname"} <= names:
        return "hm"
    if file_name.endswith("_pairs.tsv") or (file_name.startswith("microlens") and {"item"} <= names):
        return "microlens"
    return "amazon" if special_formats.amazon_header(fields) else "csv"


def _recognise_objects(keys: set[str]) -> str:
    if keys & {"parentasin", "asin"} and "bookid" not in keys:  # Goodreads has an asin too
        return "amazon"
    return "yelp" if "businessid" in keys and keys & {"reviewid", "city", "photoid"} else "jsonl"


def _object_keys(line: str) -> list[str]:
    try:
        record = json.loads(line)
    except ValueError:
        # The line is longer than the head of the file, or a dict as Python prints it.
        return re.findall(r"[\"']([^\"']+)[\"']\s*:", line)
    return list(record) if isinstance(record, dict) else []


def read_raw(path: Path, format: str, findings: Findings, selection: ColumnSelection) -> tuple[RawTable, str]:
    """Return the rows of an interactions or items file, and its format; ``auto`` is recognised and noted."""
    if format == "auto":
        format = recognise_format(path)
        findings.note(f"{path.name}: recognised as {format}")
    raw = _reader(format)(path, findings, selection)
    return raw if selection.items else unroll_lists(raw, findings), format


def _reader(format: str) -> special_formats.Reader:
    return _READERS[format] if format in _READERS else AddedReader(format, _added_readers()[format])


def _read_with_names(path: Path, findings: Findings, selection: ColumnSelection) -> RawTable:
    """Read Parquet, JSON Lines or delimited text whose columns have names."""
    head = read_head(path)
    if is_parquet(head):
        return read_parquet(path, findings, selection)
    if is_json(first_line(head)):
        return read_jsonl(path, findings, selection)
    return read_delimited(path, findings, selection)


def _read_amazon(path: Path, findings: Findings, selection: ColumnSelection) -> RawTable:
    first = first_line(read_head(path))
    header = None if first.startswith("{") else special_formats.amazon_header(first.split(sniff_delimiter(first)))
    if header is not None and not selection.items:
        return read_delimited(path, findings, selection, header=header)
    return _read_with_names(path, findings, selection)


_READERS: dict[str, special_formats.Reader] = {
    "csv": read_delimited,
    "parquet": read_parquet,
    "jsonl": read_jsonl,
    "recbole": special_formats.read_recbole,
    "mmrec": special_formats.read_mmrec,
    "amazon": _read_amazon,
    "movielens": special_formats.read_movielens,
    "microlens": special_formats.read_microlens,
    "mind": read_mind,
    "hm": _read_with_names,
    "yelp": _read_with_names,
    "cornac": special_formats.read_cornac,
}
