"""The layouts that data sets come in: recognised by name and content, read into one table."""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path

import pyarrow as pa

from demure.data.columns import NAMES, simple
from demure.data.problems import Findings
from demure.data.tables import Raw, first_line, head, is_parquet, read_delimited, read_lines, read_parquet, sniff
from demure.errors import DataError

FORMATS = ("auto", "csv", "parquet", "jsonl", "recbole", "mmrec", "amazon", "movielens")
_TYPED = re.compile(r"^[^:]+:(token|token_seq|float|float_seq)$")
_U_DATA = ["user_id", "item_id", "rating", "timestamp"]
_GENRES = [
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
]  # fmt: skip
_U_ITEM = ["item_id", "title", "release date", "video release date", "url", *_GENRES]
_WANTED = {name for names in NAMES.values() for name in names} - set(NAMES["image"])


def check_choice(value: str, allowed: tuple[str, ...], where: str) -> None:
    """Raise ``DataError`` with a suggestion if ``value`` is not one of ``allowed``."""
    if value not in allowed:
        near = difflib.get_close_matches(value, allowed, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise DataError(f"unknown value {value!r}{hint}", where=where, remedy=f"use one of {', '.join(allowed)}")


def recognise(path: Path) -> str:
    """The layout of a file (any of ``FORMATS`` but auto), by its first lines, and by its name where they leave it open.

    Raises ``DataError`` if it cannot be read or is empty.
    """
    start = head(path)
    if is_parquet(start):
        return "parquet"
    first = first_line(start).lstrip()
    name = path.name.lower().removesuffix(".gz")
    if first.startswith(("{", "[")):
        keys = {simple(key) for key in _keys(first)}
        return "amazon" if keys & {"parentasin", "asin"} else "jsonl"
    fields = first.split("\t")
    if all(_TYPED.match(field.strip()) for field in first.split(sniff(first))):
        return "recbole"
    if name.endswith(".inter") or {"itemid", "xlabel"} <= {simple(field) for field in first.split(sniff(first))}:
        return "mmrec"
    numeric = len(fields) == 4 and all(field.strip().isdigit() for field in fields)
    if first.count("::") >= 2 or numeric or (name == "u.item" and first.count("|") == len(_U_ITEM) - 1):
        return "movielens"
    return "csv"


def read(path: Path, layout: str, findings: Findings, *, items: bool = False) -> tuple[Raw, str]:
    """The rows of an interactions or items file, and its layout; ``auto`` is recognised and noted."""
    if layout == "auto":
        layout = recognise(path)
        findings.note(f"{path.name}: recognised as {layout}")
    if layout == "parquet":
        return read_parquet(path), layout
    if layout == "jsonl" or (layout == "amazon" and first_line(head(path)).lstrip().startswith("{")):
        return read_lines(path, findings, (lambda _: True) if items else (lambda key: simple(key) in _WANTED)), layout
    if layout == "recbole":
        return _untyped(read_delimited(path, findings, delimiter=_tab_or_other(path), quotes=False)), layout
    if layout == "mmrec":
        return read_delimited(path, findings, delimiter=_tab_or_other(path)), layout
    if layout == "movielens":
        return _movielens(path, findings, items=items), layout
    return read_delimited(path, findings), layout


def _keys(line: str) -> list[str]:
    try:
        record = json.loads(line)
    except ValueError:
        return re.findall(r'"([^"]+)"\s*:', line)  # a line longer than what was read of it
    return list(record) if isinstance(record, dict) else []


def _tab_or_other(path: Path) -> str:
    first = first_line(head(path))
    return "\t" if "\t" in first else sniff(first)


def _untyped(raw: Raw) -> Raw:
    return Raw(raw.path, raw.table.rename_columns([name.rpartition(":")[0] or name for name in raw.columns]), 2)


def _movielens(path: Path, findings: Findings, *, items: bool) -> Raw:
    """u.data, u.item (100K), ratings.dat, movies.dat (1M, 10M), and the CSV files of the later releases."""
    first = first_line(head(path))
    if "::" in first:
        header = ["item_id", "title", "genres"] if items else _U_DATA
        return read_delimited(path, findings, delimiter="::", header=header, quotes=False)
    if items and first.count("|") == len(_U_ITEM) - 1:
        return _with_genres(read_delimited(path, findings, delimiter="|", header=_U_ITEM, quotes=False))
    if not items and first.count("\t") == 3 and first.split("\t")[0].strip().isdigit():
        return read_delimited(path, findings, delimiter="\t", header=_U_DATA, quotes=False)
    return read_delimited(path, findings)


def _with_genres(raw: Raw) -> Raw:
    flags = [raw.table[genre].to_pylist() for genre in _GENRES]
    genres = [
        "|".join(genre for genre, flag in zip(_GENRES, row, strict=True) if flag == "1")
        for row in zip(*flags, strict=True)
    ]
    columns = {"item_id": raw.table["item_id"], "title": raw.table["title"], "genres": pa.array(genres, pa.string())}
    return Raw(raw.path, pa.table(columns), raw.first_row)
