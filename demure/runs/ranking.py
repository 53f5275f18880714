"""Rank several runs on the same data in full, for the same users."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from demure.cluster.executor import LOCAL, Executor, ranges
from demure.data.splits import EARLIER
from demure.data.user_sums import Sums, sum_on
from demure.errors import DemureError
from demure.evaluation.beyond_accuracy import Catalogue, UsersPerItem
from demure.evaluation.ranking import Evaluation, Scorer, evaluate, users_at_once
from demure.progress import Listener, Progress, silent
from demure.runs.fit import RunTask, fit_for_workers
from demure.runs.manifest import RunManifest, differing_parts, manifest_files, read_manifest, recorded_dataset

if TYPE_CHECKING:
    from demure.data.dataset import Dataset
    from demure.data.histories import Histories
    from demure.runs.load import LoadedRun

_USERS_AT_ONCE = 16_384


@dataclass(frozen=True)
class RankedRuns:
    """``past``: histories before the split, whose items are not ranked; ``evaluations``: run -> its evaluation."""

    dataset: Dataset
    past: Histories
    catalogue: Catalogue
    evaluations: dict[str, Evaluation]


@dataclass(frozen=True)
class SplitData:
    """The ``relevant`` items of the users of a split, which runs are ranked for, and the ``past`` items."""

    dataset: Dataset
    relevant: Histories
    past: Histories
    catalogue: Catalogue

    @classmethod
    def of(cls, dataset: Dataset, split: str, users_per_item: Sums | None = None) -> SplitData:
        """Read the split; ``users_per_item`` as of ``Catalogue.of``. Raises ``DemureError`` if it is empty."""
        relevant, past = dataset.histories(split), dataset.histories(*EARLIER[split])
        if not len(relevant.items):
            other = next((part for part in EARLIER if part != split and len(dataset.histories(part).items)), None)
            remedy = f"use --split {other}" if other else "prepare the dataset with a split"
            raise DemureError(f"there is nothing in the split {split!r}", where=dataset.path, remedy=remedy)
        return cls(dataset, relevant, past, Catalogue.of(dataset, users_per_item))

    @property
    def users(self) -> np.ndarray:
        """The users with a relevant item (n,) int64."""
        return np.flatnonzero(self.relevant.lengths).astype(np.int64)


@dataclass(frozen=True)
class RankTask(RunTask[np.ndarray, Evaluation]):
    """Evaluates one run for parts of the users (n,); the fields are arguments of :func:`rank_runs`.

    ``users_per_item`` as of ``Catalogue.of``.
    """

    run: Path
    split: str
    ks: tuple[int, ...]
    device: str
    users_per_item: Sums | None = field(default=None, compare=False)

    def shared_files(self) -> list[Path]:
        return manifest_files(self.run)

    @cached_property
    def loaded(self) -> LoadedRun:
        return self.open_run(self.run, self.device)

    @cached_property
    def data(self) -> SplitData:
        return SplitData.of(self.loaded.dataset, self.split, self.users_per_item)

    @cached_property
    def scorer(self) -> Scorer:
        return self.loaded.scorer(self.split)

    def share(self, data: SplitData) -> None:
        """Take the data that was read for an earlier run."""
        vars(self)["data"] = data

    def work(self, part: np.ndarray, listener: Listener) -> Evaluation:
        data = self.data
        return evaluate(
            self.scorer,
            data.relevant,
            data.past,
            self.ks,
            data.dataset.n_items,
            catalogue=data.catalogue,
            users=part,
            listener=listener,
        )


def rank_runs(
    runs: Sequence[Path],
    *,
    split: str,
    ks: Sequence[int],
    device: str = "auto",
    listener: Listener = silent,
    executor: Executor = LOCAL,
) -> RankedRuns:
    """Open and rank each run in turn, after a check that all are of the same data. Raises as ``evaluate_runs``.

    On a cluster, the workers open the run, and each evaluates blocks of users.
    """
    from demure.runs.load import load_run_dataset

    if split not in EARLIER:
        raise DemureError(f"unknown split {split!r}", where="--split", remedy=f"use one of {', '.join(EARLIER)}")
    data: SplitData | None = None
    evaluations: dict[str, Evaluation] = {}
    users_per_item = None
    for name, path in zip(read_manifests(runs), runs, strict=True):
        task = RankTask(Path(os.path.abspath(path)), split, tuple(ks), device)
        if executor.is_local:
            dataset = task.loaded.dataset
            data = data or SplitData.of(dataset, split)
        else:
            manifest, dataset = load_run_dataset(path)
            if data is None:
                (users_per_item,) = sum_on(executor, dataset, [UsersPerItem(dataset.n_items)])
                data = SplitData.of(dataset, split, users_per_item)
            fit = fit_for_workers(path, manifest, dataset, executor)
            task = replace(task, fit=fit, users_per_item=users_per_item)
        task.share(data)
        users = data.users
        # Blocks of whole batches: each user is scored beside the same others as in one process.
        batch = users_at_once(dataset.n_items)
        size = batch * max(1, min(_USERS_AT_ONCE, len(users) // (4 * executor.workers)) // batch)
        blocks = ranges(executor, len(users), size)
        parts = []
        for block, part in zip(
            blocks, executor.map(task, (users[block.start : block.stop] for block in blocks), listener), strict=True
        ):
            parts.append(part)
            if not executor.is_local:
                listener(Progress("evaluate", block.stop, len(users)))
        evaluations[name] = Evaluation.merge(parts)
    assert data is not None
    return RankedRuns(data.dataset, data.past, data.catalogue, evaluations)


def read_manifests(runs: Sequence[Path]) -> dict[str, RunManifest]:
    """Read run.json of every run. Raises ``DemureError`` for no run, for a run twice, and for runs on other data."""
    names = [str(run) for run in runs]
    if not names:
        raise DemureError("no run is given", where="eval", remedy="name a run folder")
    duplicate = next((name for name in names if names.count(name) > 1), None)
    if duplicate is not None:
        raise DemureError("is given twice", where=duplicate, remedy="compare different runs")
    manifests = {name: read_manifest(run) for name, run in zip(names, runs, strict=True)}
    expected = recorded_dataset(runs[0], manifests[names[0]]).identity
    for (name, manifest), run in zip(manifests.items(), runs, strict=True):
        different = differing_parts(expected, recorded_dataset(run, manifest).identity)
        if different:
            raise DemureError(
                f"was made from other data than {names[0]} ({', '.join(different)} differ)",
                where=name,
                remedy="compare runs of the same dataset folder",
            )
    return manifests
