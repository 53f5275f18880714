"""Write the work list as a CSV that a spreadsheet opens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.worklist.assemble import WorkList, worklist
from demure.errors import DemureError
from demure.files import atomic_file, csv_text

_BYTE_ORDER_MARK = "\ufeff"  # without it, spreadsheets take UTF-8 for the encoding of the system


def list_content(
    run: Path | str | DiagnosisReader,
    out: Path | str | None = None,
    *,
    kinds: Sequence[str] = (),
    where: Sequence[str] = (),
    sort: str | None = None,
    top: int | None = None,
) -> WorkList:
    """Return the work list of :func:`worklist`, and write its rows to ``out``, whole or not at all.

    One line for each row; texts that a spreadsheet would run as a formula get a leading apostrophe. Raises as
    :func:`worklist`, and ``DemureError`` if ``out`` does not end in .csv or cannot be written.
    """
    path = None if out is None else _check_out(out)  # before the work
    result = worklist(run, kinds=kinds, where=where, sort=sort, top=top)
    return result if path is None else _write(result, path)


def _write(result: WorkList, out: Path) -> WorkList:
    columns = list(result.rows.columns)
    rows = [[_cell(record[name]) for name in columns] for record in result.rows.to_dict("records")]
    with atomic_file(out) as part:
        part.write_text(
            _BYTE_ORDER_MARK + csv_text(columns, rows), encoding="utf-8", errors="backslashreplace", newline=""
        )
    return replace(result, out=str(out))


def _check_out(out: Path | str) -> Path:
    """Return ``out`` as a path. Raises ``DemureError`` if no CSV can be written there."""
    out = Path(out)
    if out.suffix.lower() != ".csv":
        raise DemureError("the work list is a CSV file", where=out, remedy="give a name that ends in .csv")
    if out.is_dir():
        raise DemureError("is a folder", where=out, remedy="give the name of a file")
    return out


def _cell(value: object) -> object:
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, float):
        return "" if math.isnan(value) else round(value, 1)
    return " ".join(value.split()) if isinstance(value, str) else value
