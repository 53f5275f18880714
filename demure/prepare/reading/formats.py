"""The layouts that data sets come in: recognised by name and content, read into one table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from demure.data.nested import simple
from demure.prepare.problems import Findings
from demure.prepare.reading import layouts
from demure.prepare.reading.columns import Wanted
from demure.prepare.reading.compression import head
from demure.prepare.reading.parquet import is_parquet, parquet_files, read_parquet
from demure.prepare.reading.tables import Raw, first_line, read_delimited, read_lines, sniff

FORMATS = (
    "auto", "csv", "parquet", "jsonl", "recbole", "mmrec", "amazon", "movielens", "microlens", "hm", "yelp", "cornac",
)  # fmt: skip
_PACKED = re.compile(r"\.(gz|zst|zstd|bz2)$")
_TYPED = re.compile(r"^[^:]+:(token|token_seq|float|float_seq)$")


def recognise(path: Path) -> str:
    """The layout of a file (any of ``FORMATS`` but auto and cornac), by its first lines, and by its name where they
    leave it open.

    Raises ``DataError`` if it cannot be read or is empty.
    """
    if path.is_dir() and parquet_files(path):
        return "parquet"
    start = head(path)
    if is_parquet(start):
        return "parquet"
    first = first_line(start).lstrip()
    if first.startswith(("{", "[")):
        return _of_objects({simple(key) for key in _keys(first)})
    fields = [field.strip() for field in first.split(sniff(first))]
    names = {simple(field) for field in fields}
    name = _PACKED.sub("", path.name.lower())
    if all(_TYPED.match(field) for field in fields):
        return "recbole"
    if name.endswith(".inter") or {"itemid", "xlabel"} <= names:
        return "mmrec"
    if layouts.is_movielens(first, name):
        return "movielens"
    if {"customerid", "articleid"} <= names or {"articleid", "prodname"} <= names:
        return "hm"
    if name.endswith("_pairs.tsv") or (name.startswith("microlens") and {"item"} <= names):
        return "microlens"
    return "amazon" if layouts.amazon_header(fields) else "csv"


def _of_objects(keys: set[str]) -> str:
    if keys & {"parentasin", "asin"}:
        return "amazon"
    return "yelp" if "businessid" in keys and keys & {"reviewid", "city", "photoid"} else "jsonl"


def read(path: Path, layout: str, findings: Findings, wanted: Wanted) -> tuple[Raw, str]:
    """The rows of an interactions or items file, and its layout; ``auto`` is recognised and noted."""
    if layout == "auto":
        layout = recognise(path)
        findings.note(f"{path.name}: recognised as {layout}")
    return _READERS[layout](path, findings, wanted), layout


def _plain(path: Path, findings: Findings, wanted: Wanted) -> Raw:
    """Whatever its lines are, for layouts whose columns have names."""
    start = head(path)
    if is_parquet(start):
        return read_parquet(path, findings, wanted)
    if first_line(start).lstrip().startswith("{"):
        return read_lines(path, findings, wanted)
    return read_delimited(path, findings, wanted)


def _amazon(path: Path, findings: Findings, wanted: Wanted) -> Raw:
    first = first_line(head(path))
    header = None if first.startswith("{") else layouts.amazon_header(first.split(sniff(first)))
    if header is not None and not wanted.items:
        return read_delimited(path, findings, wanted, header=header)
    return _plain(path, findings, wanted)


_READERS: dict[str, Callable[[Path, Findings, Wanted], Raw]] = {
    "csv": read_delimited,
    "parquet": read_parquet,
    "jsonl": read_lines,
    "recbole": layouts.recbole,
    "mmrec": layouts.mmrec,
    "amazon": _amazon,
    "movielens": layouts.movielens,
    "microlens": layouts.microlens,
    "hm": _plain,
    "yelp": _plain,
    "cornac": layouts.cornac,
}


def _keys(line: str) -> list[str]:
    try:
        record = json.loads(line)
    except ValueError:
        return re.findall(r"[\"']([^\"']+)[\"']\s*:", line)  # a line longer than what was read of it, or Python's
    return list(record) if isinstance(record, dict) else []
