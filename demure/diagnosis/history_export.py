"""Write the verdicts on histories that training did not see, block by block of users, into one file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from demure.cluster.executor import LOCAL, Executor, Task
from demure.data.dataset import Dataset
from demure.data.histories import Histories
from demure.diagnosis.export import HistoryExport, check_export, write_export
from demure.diagnosis.history import DiagnosedHistories, HistoryDiagnoser, history_notes
from demure.diagnosis.reader import EXPORT_COLUMNS, DiagnosisReader
from demure.preparation.new_users import read_histories
from demure.progress import Listener, Progress, silent
from demure.runs.folder import DIAGNOSIS
from demure.runs.manifest import manifest_files

_USERS_AT_ONCE = 4096


class HistoryBlock(NamedTuple):
    """Users (U,) and their ``histories``."""

    user_ids: np.ndarray
    histories: Histories


@dataclass(frozen=True)
class HistoryTask(Task[HistoryBlock, DiagnosedHistories]):
    """Diagnoses blocks of users by ``run``; of the tables, the export's columns of the diagnosis are returned."""

    run: Path
    device: str

    def shared_files(self) -> list[Path]:
        return manifest_files(self.run)

    @cached_property
    def diagnoser(self) -> HistoryDiagnoser:
        return HistoryDiagnoser.open(self.run, self.device)

    def work(self, part: HistoryBlock, listener: Listener) -> DiagnosedHistories:
        diagnosed = self.diagnoser.diagnose(part.user_ids, part.histories, listener)
        return diagnosed._replace(tables={DIAGNOSIS: diagnosed.tables[DIAGNOSIS].select(list(EXPORT_COLUMNS))})


def export_histories(
    run: Path | str,
    file: Path | str,
    out: Path | str,
    *,
    time_format: str | None = None,
    device: str = "auto",
    listener: Listener = silent,
    executor: Executor = LOCAL,
) -> HistoryExport:
    """Write the verdicts on the histories in ``file`` to a Parquet file, whole or not at all.

    Arguments and errors as of ``demure.diagnosis.history.diagnose_histories`` and ``demure.diagnosis.export.export``;
    ``executor``: where the blocks of users are diagnosed.
    """
    out = Path(out)
    check_export(out)
    task = HistoryTask(Path(run), device)
    if executor.is_local:
        dataset = task.diagnoser.dataset
    else:  # the model is opened by the workers alone
        task = replace(task, run=Path(os.path.abspath(run)))
        dataset = Dataset.load(DiagnosisReader.open(run).dataset)
    user_ids, histories, findings = read_histories(Path(file), dataset, time_format)
    total = len(user_ids)
    stops = [min(start + _USERS_AT_ONCE, total) for start in range(0, max(total, 1), _USERS_AT_ONCE)]
    blocks = (
        HistoryBlock(user_ids[start:stop], histories.slice_users(start, stop))
        for start, stop in zip([0, *stops], stops, strict=False)
    )
    same: list[np.ndarray] = []
    lacks_rivals = False

    def diagnosed() -> Iterator[pa.Table]:
        nonlocal lacks_rivals
        for stop, block in zip(stops, executor.map(task, blocks, listener), strict=True):
            same.append(block.same)
            lacks_rivals = block.lacks_rivals
            yield block.tables[DIAGNOSIS]
            if not executor.is_local:
                listener(Progress("diagnose", stop, total))

    rows = write_export(out, diagnosed())
    notes = history_notes(findings, user_ids, histories, dataset, np.concatenate(same), lacks_rivals)
    return HistoryExport(str(run), str(out), rows, notes)
