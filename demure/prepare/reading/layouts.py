"""Layouts that name no columns, or name them their own way, as the tables that the rest of demure reads."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from demure.errors import DataError
from demure.prepare.problems import Findings
from demure.prepare.reading.columns import Wanted
from demure.prepare.reading.compression import head
from demure.prepare.reading.tables import Raw, first_line, read_delimited, sniff

_TUPLE = ["user_id", "item_id", "rating", "timestamp"]
_GENRES = [
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
]  # fmt: skip
_U_ITEM = ["item_id", "title", "release date", "video release date", "url", *_GENRES]
_REVIEWER, _ASIN = re.compile(r"^A[0-9A-Z]{9,22}$"), re.compile(r"^(B[0-9A-Z]{9}|[0-9]{9}[0-9X])$")
_PART = re.compile(r"^(.+)\.(train|valid|test)(\.(?:inter|tsv|csv|txt)(?:\.(?:gz|zst|bz2))?)$")
Reader = Callable[[Path, Findings, Wanted], Raw]


def amazon_header(fields: list[str]) -> list[str] | None:
    """The columns of Amazon's ratings without header, by a line: in 2014 the user comes first, in 2018 the item.

    None for another line.
    """
    if len(fields) != 4 or not re.fullmatch(r"[1-5](\.0)?", fields[2]) or not re.fullmatch(r"\d{8,13}", fields[3]):
        return None
    if _REVIEWER.match(fields[0]) and _ASIN.match(fields[1]):
        return _TUPLE
    return ["item_id", "user_id", *_TUPLE[2:]] if _ASIN.match(fields[0]) and _REVIEWER.match(fields[1]) else None


def recbole(path: Path, findings: Findings, wanted: Wanted) -> Raw:
    """An atomic file, whose header tells the types; NAME.train.inter with its valid and test beside it is one file."""
    return _with_its_parts(path, findings, wanted, _atomic)


def _with_its_parts(path: Path, findings: Findings, wanted: Wanted, read: Reader) -> Raw:
    """A file, or the three of a split that NAME.train.SUFFIX is one of, with the column ``split``."""
    part = _PART.match(path.name)
    if part is None or wanted.items:
        return read(path, findings, wanted)
    name, _, suffix = part.groups()
    files = {label: path.with_name(f"{name}.{label}{suffix}") for label in ("train", "valid", "test")}
    parts = {label: read(file, findings, wanted) for label, file in files.items() if file.is_file()}
    tables = [
        raw.table.append_column("split", pa.array([label] * raw.table.num_rows, pa.string()))
        for label, raw in parts.items()
    ]
    findings.note(f"the parts of {name}: {', '.join(parts)}; --split given keeps them")
    whole = path.with_name(f"{name}.{{{','.join(parts)}}}{suffix}")
    columns = [*next(iter(parts.values())).columns, "split"]
    table = pa.concat_tables(tables, promote_options="default")
    return Raw(whole, table, 1, columns, files=[raw.path for raw in parts.values()])


def _atomic(path: Path, findings: Findings, wanted: Wanted) -> Raw:
    delimiter = _tab_or_other(first_line(head(path)))
    return read_delimited(path, findings, replace(wanted, typed=True), delimiter=delimiter, quotes=False)


def mmrec(path: Path, findings: Findings, wanted: Wanted) -> Raw:
    return read_delimited(path, findings, wanted, delimiter=_tab_or_other(first_line(head(path))))


def _tab_or_other(line: str) -> str:
    return "\t" if "\t" in line else sniff(line)


def cornac(path: Path, findings: Findings, wanted: Wanted) -> Raw:
    """Tuples without header: user and item, with a third number the rating, with a fourth the time (UIRT)."""
    return _with_its_parts(path, findings, wanted, _tuples)


def _tuples(path: Path, findings: Findings, wanted: Wanted) -> Raw:
    first = first_line(head(path))
    delimiter = next((one for one in ("\t", "::", ",", ";", "|", " ") if one in first), "\t")
    fields = first.split(delimiter)
    if wanted.columns:
        return read_delimited(path, findings, wanted, delimiter=delimiter, quotes=False)
    if not 2 <= len(fields) <= 4 or not all(_is_number(field) for field in fields[2:]):
        reason = f"is no file of user, item, rating, time: its first line is {first[:60]!r}"
        raise DataError(reason, where=path, remedy="say --columns user=1,item=2,timestamp=3, or another --format")
    findings.note(f"{path.name}: columns are taken as {', '.join(_TUPLE[: len(fields)])}")
    return read_delimited(path, findings, wanted, delimiter=delimiter, header=_TUPLE[: len(fields)], quotes=False)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_movielens(first: str, name: str) -> bool:
    """Whether a file's first line is one of MovieLens 100K, 1M or 10M, which have no header."""
    fields = first.split("\t")
    numeric = len(fields) == 4 and all(field.strip().isdigit() for field in fields)
    return first.count("::") >= 2 or numeric or (name == "u.item" and first.count("|") == len(_U_ITEM) - 1)


def movielens(path: Path, findings: Findings, wanted: Wanted) -> Raw:
    """u.data, u.item (100K), ratings.dat, movies.dat (1M, 10M), and the CSV files of the later releases."""
    first = first_line(head(path))
    if "::" in first:
        header = ["item_id", "title", "genres"] if wanted.items else _TUPLE
        return read_delimited(path, findings, wanted, delimiter="::", header=header, quotes=False)
    if wanted.items and first.count("|") == len(_U_ITEM) - 1:
        return _with_genres(read_delimited(path, findings, wanted, delimiter="|", header=_U_ITEM, quotes=False))
    if not wanted.items and first.count("\t") == 3 and first.split("\t")[0].strip().isdigit():
        return read_delimited(path, findings, wanted, delimiter="\t", header=_TUPLE, quotes=False)
    return read_delimited(path, findings, wanted)


def _with_genres(raw: Raw) -> Raw:
    flags = [raw.table[genre].to_pylist() for genre in _GENRES]
    genres = [
        "|".join(genre for genre, flag in zip(_GENRES, row, strict=True) if flag == "1")
        for row in zip(*flags, strict=True)
    ]
    columns = {"item_id": raw.table["item_id"], "title": raw.table["title"], "genres": pa.array(genres, pa.string())}
    return Raw(raw.path, pa.table(columns), raw.first_row, list(columns), raw.delimited)


def microlens(path: Path, findings: Findings, wanted: Wanted) -> Raw:
    """pairs.csv and titles.csv have headers; pairs.tsv has a user and their items, in order, on a line."""
    first = first_line(head(path))
    if wanted.items or "\t" not in first:
        return read_delimited(path, findings, wanted)
    lines = read_delimited(
        path, findings, Wanted(items=True), delimiter="\t", header=["user_id", "items"], quotes=False
    )
    items = pc.split_pattern(pc.utf8_trim_whitespace(lines.table["items"].combine_chunks()), " ")
    users = lines.table["user_id"].combine_chunks().take(pc.list_parent_indices(items))
    lengths = pc.list_value_length(items).to_numpy(zero_copy_only=False)
    places = [str(k) for length in lengths for k in range(length)]
    findings.note(f"{path.name}: a line is a user's items in order; their places are taken as timestamps")
    columns = {"user_id": users, "item_id": pc.list_flatten(items), "timestamp": pa.array(places, pa.string())}
    return Raw(path, pa.table(columns), 1, list(columns), delimited=True)
