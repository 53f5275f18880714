"""The export of verdicts: a Parquet file with a row for every interaction and modality."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from demure.cluster.executor import LOCAL, Executor, Task
from demure.diagnosis.reader import EXPORT_COLUMNS, DiagnosisReader
from demure.diagnosis.table import check_columns
from demure.errors import DemureError
from demure.files import atomic_file
from demure.progress import Listener, Progress, silent
from demure.runs.folder import DIAGNOSIS
from demure.runs.manifest import manifest_files

_ROWS_TOGETHER = 65_536  # of a row group of the export

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
            selected = table.select(list(EXPORT_COLUMNS)).cast(_SCHEMA)
            writer.write_table(selected, row_group_size=_ROWS_TOGETHER)
            rows += table.num_rows
    return rows


@dataclass(frozen=True)
class ExportTask(Task[int, pa.Table]):
    """Reads and checks the ``EXPORT_COLUMNS`` of a row group of the diagnosis of ``run``: a million rows at most."""

    run: Path

    def shared_files(self) -> list[Path]:
        return manifest_files(self.run)

    @cached_property
    def reader(self) -> DiagnosisReader:
        return DiagnosisReader.open(self.run)

    def share(self, reader: DiagnosisReader) -> None:
        """Take the run that is open already."""
        vars(self)["reader"] = reader

    def work(self, part: int, listener: Listener) -> pa.Table:
        # Ids and verdicts as numbers of a dictionary: a third of the bytes to move.
        names = [name for name, kind in zip(_SCHEMA.names, _SCHEMA.types, strict=True) if kind == pa.string()]
        with self.reader.files.parquet(DIAGNOSIS, names) as file:
            table = file.read_row_group(part, columns=list(EXPORT_COLUMNS))
        check_columns(table, self.reader.files, DIAGNOSIS)
        return table


def export(run: Path | str, out: Path | str, *, listener: Listener = silent, executor: Executor = LOCAL) -> Export:
    """Write every verdict to a Parquet file with the columns of ``EXPORT_COLUMNS``; whole or not at all.

    ``executor``: where the row groups of the diagnosis are read. Raises ``DemureError`` if ``out`` does not end in
    .parquet or cannot be written.
    """
    out = Path(out)
    check_export(out)
    task = ExportTask(Path(os.path.abspath(run)))
    task.share(DiagnosisReader.open(run))
    with task.reader.files.parquet(DIAGNOSIS) as file:
        groups = range(file.num_row_groups)

    def reported(tables: Iterable[pa.Table]) -> Iterable[pa.Table]:
        for done, table in enumerate(tables, start=1):
            yield table
            listener(Progress("export", done, len(groups)))

    return Export(str(run), str(out), write_export(out, reported(executor.map(task, groups))))
