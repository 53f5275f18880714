"""The views of `demure inspect` in one place: overview, segments, one user, one item, one modality, and the export.

Every view reads the tables of a run folder; no verdict is computed again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from demure.diagnosis.export import Export, check_export, write_export
from demure.diagnosis.interests.view import InterestsView, InterestView, interests
from demure.diagnosis.item import ItemView, item_view
from demure.diagnosis.listing import Listing, listing
from demure.diagnosis.modality import ModalityView, modality_view
from demure.diagnosis.overview import Overview, overview
from demure.diagnosis.reader import EXPORT_COLUMNS, DiagnosisReader
from demure.diagnosis.segments import KINDS, Segments, segments
from demure.diagnosis.table import check_columns
from demure.diagnosis.user import UserView, user_view
from demure.runs.folder import DIAGNOSIS

__all__ = [
    "KINDS",
    "Export",
    "InterestView",
    "InterestsView",
    "ItemView",
    "Listing",
    "ModalityView",
    "Overview",
    "Segments",
    "UserView",
    "export",
    "interests",
    "item_view",
    "listing",
    "modality_view",
    "overview",
    "segments",
    "user_view",
]


def export(run: Path | str, out: Path | str) -> Export:
    """Write every verdict to a Parquet file with the columns of ``EXPORT_COLUMNS``, in batches; whole or not at all.

    Raises ``DemureError`` if ``out`` does not end in .parquet or cannot be written.
    """
    out = Path(out)
    check_export(out)
    reader = DiagnosisReader.open(run)
    return Export(str(run), str(out), write_export(out, _batches(reader)))


def _batches(reader: DiagnosisReader) -> Iterator[pa.Table]:
    with reader.files.parquet(DIAGNOSIS) as file:
        for batch in file.iter_batches(columns=list(EXPORT_COLUMNS)):
            table = pa.Table.from_batches([batch])
            check_columns(table, reader.files, DIAGNOSIS)
            yield table
