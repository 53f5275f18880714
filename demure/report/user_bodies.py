"""The details of many users of a page, in this process or by workers on a cluster."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from demure.cluster.executor import Executor, Task, ranges
from demure.diagnosis.reader import DiagnosisReader
from demure.progress import Listener, Progress
from demure.report.item_numbers import ItemCodes
from demure.report.payload import PayloadBuilder, UserBody
from demure.runs.folder import SUPPORTS
from demure.runs.manifest import manifest_files

_USERS_AT_ONCE = 1024


@dataclass(frozen=True)
class BodyTask(Task[np.ndarray, list[UserBody]]):
    """Makes the details of users (n,), codes in the diagnosis of ``run``; items are codes, too."""

    run: Path

    def shared_files(self) -> list[Path]:
        return manifest_files(self.run)

    @cached_property
    def builder(self) -> PayloadBuilder:
        return PayloadBuilder(DiagnosisReader.open(self.run))

    def share(self, builder: PayloadBuilder) -> None:
        """Take the tables that are open already."""
        vars(self)["builder"] = builder

    def work(self, part: np.ndarray, listener: Listener) -> list[UserBody]:
        items, bodies = ItemCodes(), []
        for done, code in enumerate(part.tolist()):
            bodies.append(self.builder.body(code, items))
            if done % 100 == 0:
                listener(Progress("histories", done, len(part)))
        return bodies


def user_bodies(builder: PayloadBuilder, users: np.ndarray, executor: Executor, listener: Listener) -> list[UserBody]:
    """Return the details of ``users`` (n,), codes, without recommendations; their items are codes, too."""
    if not executor.is_local:
        builder.reader.files.check(SUPPORTS)
    task = BodyTask(Path(os.path.abspath(builder.reader.run)))
    task.share(builder)
    bodies: list[UserBody] = []
    blocks = ranges(executor, len(users), _USERS_AT_ONCE)
    for part in executor.map(task, (users[block.start : block.stop] for block in blocks), listener):
        bodies += part
        if not executor.is_local:
            listener(Progress("histories", len(bodies), len(users)))
    return bodies
