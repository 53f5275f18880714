"""Formats of tools and public data sets that name no columns, or name them in their own way."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from demure.errors import DataError
from demure.preparation.problems import Findings
from demure.preparation.reading.columns import ColumnSelection
from demure.preparation.reading.compression import read_head
from demure.preparation.reading.delimited import read_delimited
from demure.preparation.reading.header import first_line, sniff_delimiter
from demure.preparation.reading.raw_table import RawTable, RowNumbers

_TUPLE = ["user_id", "item_id", "rating", "timestamp"]
_GENRES = [
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy",
    "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
]  # fmt: skip
_U_ITEM = ["item_id", "title", "release date", "video release date", "url", *_GENRES]
_REVIEWER, _ASIN = re.compile(r"^A[0-9A-Z]{9,22}$"), re.compile(r"^(B[0-9A-Z]{9}|[0-9]{9}[0-9X])$")
_TYPE = re.compile(r":(?:token|token_seq|float|float_seq)(?![^\W_])([^\w]?)")
_TYPED_NAME = re.compile(r"[^:]+:\w+\s*")
_SPLIT_FILE = re.compile(r"^(.+)\.(train|valid|test)(\.(?:inter|tsv|csv|txt)(?:\.(?:gz|zst|bz2))?)$")
Reader = Callable[[Path, Findings, ColumnSelection], RawTable]


def amazon_header(fields: list[str]) -> list[str] | None:
    """Return the columns of Amazon's ratings without header, by the fields of a line; None for any other line.

    In the ratings of 2014 the user comes first, in those of 2018 the item.
    """
    if len(fields) != 4 or not re.fullmatch(r"[1-5](\.0)?", fields[2]) or not re.fullmatch(r"\d{8,13}", fields[3]):
        return None
    if _REVIEWER.match(fields[0]) and _ASIN.match(fields[1]):
        return _TUPLE
    return ["item_id", "user_id", *_TUPLE[2:]] if _ASIN.match(fields[0]) and _REVIEWER.match(fields[1]) else None


def read_recbole(path: Path, findings: Findings, selection: ColumnSelection) -> RawTable:
    """Read an atomic file, whose header has the types; the files NAME.train.inter, .valid and .test are read as one."""
    return _read_split_files(path, findings, selection, _read_atomic_file)


def atomic_delimiter(header: str) -> str | None:
    """Return what separates the columns of an atomic file, whose names end in a type; None for any other header."""
    match = _TYPE.search(header)
    if match is None:
        return None
    delimiter = match.group(1) or "\t"  # a header of one column has none
    return delimiter if all(_TYPED_NAME.fullmatch(name) for name in header.split(delimiter)) else None


def _read_split_files(path: Path, findings: Findings, selection: ColumnSelection, read: Reader) -> RawTable:
    """Read a file, or the three files of the split that NAME.train.SUFFIX is one of, with the column ``split``."""
    match = _SPLIT_FILE.match(path.name)
    if match is None or selection.items:
        return read(path, findings, selection)
    name, _, suffix = match.groups()
    files = {split: path.with_name(f"{name}.{split}{suffix}") for split in ("train", "valid", "test")}
    parts = {split: read(file, findings, selection) for split, file in files.items() if file.is_file()}
    tables = [
        raw.table.append_column("split", pa.array([split] * raw.table.num_rows, pa.string()))
        for split, raw in parts.items()
    ]
    findings.note(f"the parts of {name}: {', '.join(parts)}; --split given keeps them")
    common_path = path.with_name(f"{name}.{{{','.join(parts)}}}{suffix}")
    columns = [*next(iter(parts.values())).column_names, "split"]
    table = pa.concat_tables(tables, promote_options="default")
    return RawTable(common_path, table, RowNumbers(), columns, files=[raw.path for raw in parts.values()])


def _read_atomic_file(path: Path, findings: Findings, selection: ColumnSelection) -> RawTable:
    first = first_line(read_head(path))
    delimiter = atomic_delimiter(first) or _tab_or_other(first)
    return read_delimited(path, findings, replace(selection, has_types=True), delimiter=delimiter, quotes=False)


def read_mmrec(path: Path, findings: Findings, selection: ColumnSelection) -> RawTable:
    """Read the interactions of MMRec, whose header names userID, itemID and x_label."""
    return read_delimited(path, findings, selection, delimiter=_tab_or_other(first_line(read_head(path))))


def _tab_or_other(line: str) -> str:
    return "\t" if "\t" in line else sniff_delimiter(line)


def read_cornac(path: Path, findings: Findings, selection: ColumnSelection) -> RawTable:
    """Read tuples without header: user and item; a third number is the rating, a fourth the time (UIRT)."""
    return _read_split_files(path, findings, selection, _read_tuples)


def _read_tuples(path: Path, findings: Findings, selection: ColumnSelection) -> RawTable:
    first = first_line(read_head(path))
    delimiter = next((candidate for candidate in ("\t", "::", ",", ";", "|", " ") if candidate in first), "\t")
    fields = first.split(delimiter)
    if selection.column_of_role:
        return read_delimited(path, findings, selection, delimiter=delimiter, quotes=False)
    if not 2 <= len(fields) <= 4 or not all(_is_number(field) for field in fields[2:]):
        problem = f"is not a file of user, item, rating, time: its first line is {first[:60]!r}"
        raise DataError(problem, where=path, remedy="say --columns user=1,item=2,timestamp=3, or another --format")
    findings.note(f"{path.name}: columns are taken as {', '.join(_TUPLE[: len(fields)])}")
    return read_delimited(path, findings, selection, delimiter=delimiter, header=_TUPLE[: len(fields)], quotes=False)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def is_movielens(first: str, file_name: str) -> bool:
    """Return whether a file's first line is one of MovieLens 100K, 1M or 10M, which have no header."""
    fields = first.split("\t")
    is_numeric = len(fields) == 4 and all(field.strip().isdigit() for field in fields)
    is_u_item = file_name == "u.item" and first.count("|") == len(_U_ITEM) - 1
    return first.count("::") >= 2 or is_numeric or is_u_item


def read_movielens(path: Path, findings: Findings, selection: ColumnSelection) -> RawTable:
    """Read u.data, u.item (100K), ratings.dat, movies.dat (1M, 10M), or a CSV file of the later releases."""
    first = first_line(read_head(path))
    if "::" in first:
        header = ["item_id", "title", "genres"] if selection.items else _TUPLE
        return read_delimited(path, findings, selection, delimiter="::", header=header, quotes=False)
    if selection.items and first.count("|") == len(_U_ITEM) - 1:
        return _join_genres(read_delimited(path, findings, selection, delimiter="|", header=_U_ITEM, quotes=False))
    if not selection.items and first.count("\t") == 3 and first.split("\t")[0].strip().isdigit():
        return read_delimited(path, findings, selection, delimiter="\t", header=_TUPLE, quotes=False)
    return read_delimited(path, findings, selection)


def _join_genres(raw: RawTable) -> RawTable:
    flags = [raw.table[genre].to_pylist() for genre in _GENRES]
    genres = [
        "|".join(genre for genre, flag in zip(_GENRES, row, strict=True) if flag == "1")
        for row in zip(*flags, strict=True)
    ]
    columns = {"item_id": raw.table["item_id"], "title": raw.table["title"], "genres": pa.array(genres, pa.string())}
    return RawTable(raw.path, pa.table(columns), raw.row_numbers, list(columns), raw.delimited)


def read_microlens(path: Path, findings: Findings, selection: ColumnSelection) -> RawTable:
    """Read pairs.csv, titles.csv (with headers), or pairs.tsv, whose lines are a user and the user's items in order."""
    first = first_line(read_head(path))
    if selection.items or "\t" not in first:
        return read_delimited(path, findings, selection)
    lines = read_delimited(
        path, findings, ColumnSelection(items=True), delimiter="\t", header=["user_id", "items"], quotes=False
    )
    items = pc.split_pattern(pc.utf8_trim_whitespace(lines.table["items"].combine_chunks()), " ")
    users = lines.table["user_id"].combine_chunks().take(pc.list_parent_indices(items))
    lengths = pc.list_value_length(items).to_numpy(zero_copy_only=False)
    positions = [str(k) for length in lengths for k in range(length)]
    findings.note(f"{path.name}: a line is a user's items in order; their places are taken as timestamps")
    columns = {"user_id": users, "item_id": pc.list_flatten(items), "timestamp": pa.array(positions, pa.string())}
    return RawTable(path, pa.table(columns), RowNumbers(), list(columns), delimited=True)
