"""The export of verdicts: a Parquet file with a row for every interaction and modality."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from demure.diagnosis.reader import EXPORT_COLUMNS
from demure.errors import DemureError
from demure.files import atomic_file

_SCHEMA = pa.schema(
    [(name, pa.float64() if name in ("poi_probability", "evidence") else pa.string()) for name in EXPORT_COLUMNS]
)


@dataclass(frozen=True)
class Export:
    """The file with all verdicts and its number of rows."""

    run: str
    export: str
    rows: int


@dataclass(frozen=True)
class HistoryExport(Export):
    """The same of histories from a file; ``notes``: what is odd about them, in sentences."""

    notes: list[str] = field(default_factory=list)


def check_export(out: Path) -> None:
    """Raise ``DemureError`` if ``out`` does not end in .parquet or is a folder."""
    if out.suffix != ".parquet":
        raise DemureError("the export is a Parquet file", where=out, remedy="give a name that ends in .parquet")
    if out.is_dir():
        raise DemureError("is a folder", where=out, remedy="give the name of a file")


def write_export(out: Path, tables: Iterable[pa.Table]) -> int:
    """Write the ``EXPORT_COLUMNS`` of ``tables`` to ``out``, whole or not at all; return the number of rows.

    Raises ``DemureError`` if ``out`` cannot be written.
    """
    rows = 0
    with atomic_file(out) as part, pq.ParquetWriter(part, _SCHEMA) as writer:
        for table in tables:
            writer.write_table(table.select(list(EXPORT_COLUMNS)).cast(_SCHEMA))
            rows += table.num_rows
    return rows
