"""`demure train --on ray`: the workers of a cluster train one model, as the processes of torchrun do.

Each worker has the environment that torchrun sets. If a worker is lost, all start again from the last checkpoint.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from demure.cluster.executor import Executor, MeetingPoint, Task
from demure.data.manifest import MANIFEST
from demure.errors import ProcessGroupError
from demure.progress import Listener, Progress, silent
from demure.recipe.load import load_recipe
from demure.storage.names import is_url
from demure.training import tracked
from demure.training.tracked import TrackedReport


class TrainPart(NamedTuple):
    """One process of the group: the ``environment`` of its launcher, and whether to ``resume``."""

    environment: dict[str, str]
    resume: bool


@dataclass(frozen=True)
class TrainTask(Task[TrainPart, TrackedReport]):
    """Trains with one process of the group; ``options`` are those of ``train_tracked``."""

    dataset: Path
    out: Path
    options: Mapping[str, Any]

    def shared_files(self) -> list[Path]:
        return [self.dataset / MANIFEST]

    def work(self, part: TrainPart, listener: Listener) -> TrackedReport:
        with environment(part.environment):
            return tracked.train_tracked(
                self.dataset, self.out, **{**self.options, "resume": part.resume}, listener=listener
            )


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def train_on(
    executor: Executor, dataset: Path, out: Path, *, listener: Listener = silent, **options: Any
) -> TrackedReport:
    """Train by ``executor``: in this process, or by all workers of a cluster together. Arguments and errors as in
    ``train_tracked``."""
    if executor.is_local:
        return tracked.train_tracked(dataset, out, **options, listener=listener)
    n = executor.workers
    recipe = options.get("recipe", "default")
    if Path(recipe).is_file():
        options["recipe"] = os.path.abspath(recipe)
    verdicts = load_recipe(recipe, options.get("overrides", ())).denoise
    if verdicts and not is_url(verdicts):  # workers have other working folders
        options["overrides"] = [*options.get("overrides", ()), f"denoise={json.dumps(os.path.abspath(verdicts))}"]
    task = TrainTask(Path(os.path.abspath(dataset)), Path(os.path.abspath(out)), options)
    listener(Progress(f"training by {n} workers", 0))

    def parts(attempt: int, meeting: MeetingPoint) -> list[TrainPart]:
        address = {"MASTER_ADDR": meeting.host, "MASTER_PORT": str(meeting.port), "WORLD_SIZE": str(n)}
        resume = bool(options.get("resume")) or attempt > 0
        return [TrainPart({**address, "RANK": str(rank), "LOCAL_RANK": "0"}, resume) for rank in range(n)]

    reports = executor.run_together(task, parts, ProcessGroupError)
    return replace(reports[0], run=str(out))
