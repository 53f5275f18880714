"""JSON Lines: an object per line, read batch by batch. Every value becomes the text that is written there.

A file that is one array, or has objects over several lines, is read as a whole, up to ``MOST_SPREAD`` bytes.
"""

from __future__ import annotations

import ast
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from demure.data.id_codes import TableBuilder
from demure.data.nested import is_wrapped, nested_to_json, value_to_text
from demure.errors import DataError
from demure.preparation.problems import Findings
from demure.preparation.reading.columns import ColumnSelection, role_candidates
from demure.preparation.reading.compression import BOM, file_errors, open_decompressed, read_head
from demure.preparation.reading.raw_table import RawTable, RowNumbers, no_rows

MOST_SPREAD = 128 << 20
_LINES = 1 << 17  # objects in a batch
_HALF = re.compile("[\ud800-\udfff]")
_BLANK = re.compile(r"\s*")
_JSON_START = re.compile(r"\s*(\{|\[\s*(\{|$))")


def is_json(line: str) -> bool:
    """Return whether a file that begins with ``line`` has JSON objects."""
    return _JSON_START.match(line) is not None


def read_jsonl(path: Path, findings: Findings, selection: ColumnSelection) -> RawTable:
    """Read the selected keys of a JSON Lines file as columns of text.

    Raises ``DataError`` with its number for a line that is not a JSON object.
    """
    read_head(path)
    names: dict[str, str] = {}
    tables = []
    first_nested: dict[str, int] = {}
    n_rows = 0
    # Of interactions, a list may hold ids, which become rows.
    to_text = value_to_text if selection.items else _interaction_to_text
    for batch, halves in _batches(path, findings):
        keys = list(dict.fromkeys(key for record in batch for key in record))
        if not names:
            names = dict(zip(keys, selection.rename(keys, path, findings), strict=True))
        names |= {key: key for key in keys if key not in names}
        _refuse_half_ids(batch, halves, names, selection)
        kept = [key for key in keys if selection.includes(names[key])] or keys[:1]
        columns = {
            names[key]: pa.array([to_text(key, record.get(key)) for record in batch], pa.string()) for key in kept
        }
        table = pa.table(columns)
        if selection.sink is not None:
            selection.sink(table)
            table = table.slice(0, 0)
        tables.append(table)
        if selection.items:
            for row, record in enumerate(batch, start=n_rows):
                for key, value in record.items():
                    if isinstance(value, list | dict) and names[key] not in first_nested and not is_wrapped(value):
                        first_nested[names[key]] = row
        n_rows += len(batch)
    if not tables:
        raise no_rows(path)
    table = pa.concat_tables(tables, promote_options="default")
    builder = TableBuilder(table.column_names, selection.is_encoded)
    for part in table.to_batches():
        builder.add(part.columns, part.num_rows)
    if not table.num_rows:
        builder.add([column.combine_chunks() for column in table.columns], 0)
    return RawTable(path, builder.table(), RowNumbers(), list(names.values()), first_nested=first_nested)


def _interaction_to_text(column: str, value: object) -> str | None:
    return nested_to_json(value) if isinstance(value, list | tuple | dict) else value_to_text(column, value)


def _batches(path: Path, findings: Findings) -> Iterator[tuple[list[dict[str, Any]], dict[int, str]]]:
    """Yield objects, and the places of those with half a surrogate pair: position in the batch -> file and line."""
    batch: list[dict[str, Any]] = []
    halves: dict[int, str] = {}
    is_first = True
    with file_errors(path), open_decompressed(path) as handle:
        for number, line in enumerate(handle, start=1):
            if number == 1:
                line = line.removeprefix(BOM)
            if not line.strip():
                continue
            where = f"{path}:{number}"
            try:
                records = [_parse_object(line, where, path, findings)]
            except DataError:
                spread = _read_spread(line, handle, path) if is_first else None
                if spread is None:
                    raise
                findings.note(f"{path.name}: objects in one array or over several lines, counted from 1")
                records, line = spread, b"\\u"
                where = str(path)
            is_first = False
            if b"\\u" in line:  # JSON can spell half a surrogate pair
                spelled = {k: where for k, record in enumerate(records, start=len(batch)) if _has_half(record)}
                halves |= {k: f"{path}:{k + 1}" if len(records) > 1 else where for k, where in spelled.items()}
            batch += records
            if len(batch) >= _LINES:
                yield batch, halves
                batch, halves = [], {}
    if batch:
        yield batch, halves


def _has_half(value: object) -> bool:
    return _HALF.search(json.dumps(value, ensure_ascii=False, default=str)) is not None


def _refuse_half_ids(
    batch: list[dict[str, Any]], halves: dict[int, str], names: dict[str, str], selection: ColumnSelection
) -> None:
    """Raise ``DataError`` for an id that no file can hold: replaced by another character, two ids would become one."""
    roles = ("item_id",) if selection.items else ("user_id", "item_id")
    for row, where in halves.items():
        for key, value in batch[row].items():
            is_id = any(role_candidates([names[key]], role, items=selection.items) for role in roles)
            if is_id and _has_half(value):
                problem = f"{key} is {json.dumps(value):.60}, which has half of a character (a lone surrogate)"
                raise DataError(problem, where=where, remedy="write the id with whole characters, or leave the row out")


def _read_spread(first: bytes, handle: IO[bytes], path: Path) -> list[dict[str, Any]] | None:
    """Return the objects of a file that is one array, or has objects over several lines; None where it is neither.

    ``first``: its first line, ``handle``: the rest. Raises ``DataError`` for a file that is too large for this, and for
    one that has the objects elsewhere.
    """
    data = first + handle.read(max(1, MOST_SPREAD + 1 - len(first)))
    shape = {b"[": "one JSON array", b"{": "JSON objects over several lines"}.get(first.strip()[:1])
    if len(data) > MOST_SPREAD:
        if shape is None or (first.strip() != b"{" and not first.lstrip().startswith(b"[")):
            return None
        problem = f"is {shape}, of more than {MOST_SPREAD >> 20} MB"
        expression = "'.[]'" if shape == "one JSON array" else "."
        raise DataError(problem, where=path, remedy=f"write one object per line: jq -c {expression} FILE > FILE.jsonl")
    decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_parse_constant)
    values, position = [], 0
    try:
        text = data.decode("utf-8").strip()
        while position < len(text):
            value, position = decoder.raw_decode(text, position)
            position = _BLANK.match(text, position).end()  # type: ignore[union-attr]
            values.append(value)
    except (ValueError, RecursionError):
        return None
    if len(values) == 1 and isinstance(values[0], dict):
        keys = ", ".join(map(repr, list(values[0])[:5]))
        remedy = "write its records as one object per line, for example by jq -c '.KEY[]' FILE > FILE.jsonl"
        raise DataError(f"is one JSON object (with the keys {keys})", where=path, remedy=remedy)
    if len(values) == 1 and isinstance(values[0], list):
        values = values[0]
        odd = next((k for k, value in enumerate(values, start=1) if not isinstance(value, dict)), None)
        if odd is not None and "\n" in text:
            problem = f"is a JSON array whose element {odd} is no object ({json.dumps(values[odd - 1]):.40})"
            raise DataError(problem, where=path, remedy="write one object per interaction or item")
    return values if all(isinstance(value, dict) for value in values) else None


def _parse_object(line: bytes, where: str, path: Path, findings: Findings) -> dict[str, Any]:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        findings.note(f"{path.name}: lines that are not UTF-8 are read as Latin-1")
        text = line.decode("latin-1")
    try:
        record = json.loads(text, parse_int=str, parse_float=str, parse_constant=_parse_constant)
    except (ValueError, RecursionError) as error:
        record = _parse_python_dict(text)
        if record is None:
            problem = f"is not one JSON object ({error})"
            raise DataError(problem, where=where, remedy="write one object per line") from error
    if not isinstance(record, dict):
        kind = "an array" if isinstance(record, list) else "no object"
        raise DataError(f"holds {kind}", where=where, remedy="write one object per line")
    return record


def _parse_python_dict(text: str) -> dict[str, Any] | None:
    """Parse a dict as Python 2 or 3 prints it (Amazon's metadata of 2014, Steam); return None for anything else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a backslash that escapes nothing
            value = ast.literal_eval(text.strip()) if text.lstrip().startswith("{") else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _parse_constant(name: str) -> str | None:
    return None if name == "NaN" else name
