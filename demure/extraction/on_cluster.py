"""`demure extract --on ray`: the workers of a cluster share the shards, as the processes of torchrun do.

Each worker runs the same extraction with a rank of its own: it takes shards that nobody else has, and waits for the
others at the end. If a worker is lost, the locks on its shards end with it, so that another takes them. Files are
decoded by the executor's helpers (``decoding_elsewhere``).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from demure.cluster.executor import Executor, Task
from demure.compute.launcher import ProcessRanks
from demure.data.manifest import MANIFEST
from demure.extraction.sources import EncoderNames
from demure.extraction.summary import ExtractedModality, ExtractReport
from demure.progress import Listener, Progress

if TYPE_CHECKING:
    from demure.extraction.extract import ExtractOptions


@dataclass(frozen=True)
class ExtractTask(Task[ProcessRanks, ExtractReport]):
    """Extracts with one rank among several; the fields are arguments of ``extract_dataset``."""

    dataset_path: Path
    encoders: dict[str, EncoderNames]
    options: ExtractOptions
    helpers: Executor

    def shared_files(self) -> list[Path]:
        return [self.dataset_path / MANIFEST]

    def work(self, part: ProcessRanks, listener: Listener) -> ExtractReport:
        from demure.extraction.extract import extract_dataset

        return extract_dataset(self.dataset_path, self.encoders, self.options, listener, part, self.helpers)


def extract_by_workers(
    dataset_path: Path,
    encoders: dict[str, EncoderNames],
    options: ExtractOptions,
    executor: Executor,
    listener: Listener,
) -> ExtractReport:
    """Return the report of an extraction by all workers of ``executor``. Raises as ``extract``."""
    task = ExtractTask(Path(os.path.abspath(dataset_path)), encoders, options, executor.helpers(options.workers))
    n = executor.workers
    stage = f"encoding by {n} workers"
    listener(Progress(stage, 0, n))
    reports = []
    for report in executor.map(task, [ProcessRanks(rank, n) for rank in range(n)]):
        reports.append(report)
        listener(Progress(stage, len(reports), n))
    return merge_reports(Path(dataset_path), reports)


def merge_reports(dataset_path: Path, reports: Sequence[ExtractReport]) -> ExtractReport:
    """Return one report of several processes that made the same features: each encoded a part of the inputs."""
    modalities = []
    for parts in zip(*(report.modalities for report in reports), strict=True):
        first: ExtractedModality = next((part for part in parts if part.kept is None), parts[0])
        encoded = sum(part.encoded for part in parts)
        modalities.append(
            replace(
                first,
                encoded=encoded,
                resumed=first.distinct - encoded if first.kept is None else first.resumed,
                seconds=max(part.seconds for part in parts),
                folder=dataset_path / "features" / first.name,
            )
        )
    return ExtractReport(dataset_path, modalities, reports[0].left_out)
