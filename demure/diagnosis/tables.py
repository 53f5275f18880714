"""The views of `demure inspect` in one place: overview, segments, one user, one item, one modality, and the export.

Every view reads the tables of a run folder; no verdict is computed again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from demure.diagnosis.item import ItemView, item_view
from demure.diagnosis.listing import Listing, listing
from demure.diagnosis.modality import ModalityView, modality_view
from demure.diagnosis.overview import Overview, overview
from demure.diagnosis.reader import EXPORT_COLUMNS, DiagnosisReader
from demure.diagnosis.segments import KINDS, Segments, segments
from demure.diagnosis.table import check_columns
from demure.diagnosis.user import UserView, user_view
from demure.errors import DemureError
from demure.files import atomic_file
from demure.runs.folder import DIAGNOSIS

__all__ = [
    "KINDS",
    "Export",
    "ItemView",
    "Listing",
    "ModalityView",
    "Overview",
    "Segments",
    "UserView",
    "export",
    "item_view",
    "listing",
    "modality_view",
    "overview",
    "segments",
    "user_view",
]
_EXPORT_SCHEMA = pa.schema(
    [(name, pa.float64() if name in ("poi_probability", "evidence") else pa.string()) for name in EXPORT_COLUMNS]
)


@dataclass(frozen=True)
class Export:
    """The file with all verdicts and its number of rows."""

    run: str
    export: str
    rows: int


def export(run: Path | str, out: Path | str) -> Export:
    """Write every verdict to a Parquet file with the columns of ``EXPORT_COLUMNS``, in batches; whole or not at all.

    Raises ``DemureError`` if ``out`` does not end in .parquet or cannot be written.
    """
    out = Path(out)
    if out.suffix != ".parquet":
        raise DemureError("the export is a Parquet file", where=out, remedy="give a name that ends in .parquet")
    if out.is_dir():
        raise DemureError("is a folder", where=out, remedy="give the name of a file")
    reader = DiagnosisReader.open(run)
    rows = 0
    with atomic_file(out) as part, pq.ParquetWriter(part, _EXPORT_SCHEMA) as writer:
        for batch in reader.files.parquet(DIAGNOSIS).iter_batches(columns=list(EXPORT_COLUMNS)):
            table = pa.Table.from_batches([batch]).select(list(EXPORT_COLUMNS))
            check_columns(table, reader.files, DIAGNOSIS)
            table = table.cast(_EXPORT_SCHEMA)
            writer.write_table(table)
            rows += table.num_rows
    return Export(str(run), str(out), rows)
