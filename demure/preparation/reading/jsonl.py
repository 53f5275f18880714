"""JSON Lines: an object per line, read batch by batch. Every value becomes the text that is written there."""

from __future__ import annotations

import ast
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from demure.data.id_codes import TableBuilder
from demure.data.nested import is_wrapped, nested_to_json, value_to_text
from demure.errors import DataError
from demure.preparation.problems import Findings
from demure.preparation.reading.columns import ColumnSelection
from demure.preparation.reading.compression import BOM, file_errors, open_decompressed, read_head
from demure.preparation.reading.raw_table import RawTable, RowNumbers, no_rows

_LINES = 1 << 17  # objects in a batch


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
    for batch in _batches(path, findings):
        keys = list(dict.fromkeys(key for record in batch for key in record))
        if not names:
            names = dict(zip(keys, selection.rename(keys, path, findings), strict=True))
        names |= {key: key for key in keys if key not in names}
        kept = [key for key in keys if selection.includes(names[key])] or keys[:1]
        columns = {
            names[key]: pa.array([to_text(key, record.get(key)) for record in batch], pa.string()) for key in kept
        }
        tables.append(pa.table(columns))
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
    return RawTable(path, builder.table(), RowNumbers(), list(names.values()), first_nested=first_nested)


def _interaction_to_text(column: str, value: object) -> str | None:
    return nested_to_json(value) if isinstance(value, list | tuple | dict) else value_to_text(column, value)


def _batches(path: Path, findings: Findings) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    with file_errors(path), open_decompressed(path) as handle:
        for number, line in enumerate(handle, start=1):
            if number == 1:
                line = line.removeprefix(BOM)
            if not line.strip():
                continue
            batch.append(_parse_object(line, f"{path}:{number}", path, findings))
            if len(batch) == _LINES:
                yield batch
                batch = []
    if batch:
        yield batch


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
