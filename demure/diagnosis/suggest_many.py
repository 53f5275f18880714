"""Suggestions for many users, in this process or by workers on a cluster.

First blocks of users get their lists. Then the past choices of all of them are put together by item, so that an item is
computed as a history of its own once, however many users chose it.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from demure.cluster.executor import Executor
from demure.diagnosis.recommended import MAX_PAST, PastPairs, Suggestion, past_pairs, terms_alone, with_past
from demure.errors import DemureError, MachineError
from demure.progress import Listener, Progress
from demure.runs.fit import RunTask, fit_for_workers
from demure.runs.manifest import manifest_files

if TYPE_CHECKING:
    import pandas as pd

    from demure.runs.load import LoadedRun

_USERS_AT_ONCE = 2048
_PAST_ITEMS_AT_ONCE = 1024
_PAIRS_TOGETHER = 4_000_000  # of past choices and listed items: 130 MB


@dataclass(frozen=True)
class SuggestTask(RunTask["list[str] | PastPairs", Any]):
    """Recommends ``k`` items to a part of the users (a table, or None where the model cannot be loaded), and computes
    the terms of past items (P,)."""

    run: Path
    k: int

    def shared_files(self) -> list[Path]:
        return manifest_files(self.run)

    @cached_property
    def loaded(self) -> LoadedRun | None:
        try:
            return self.open_run(self.run, "cpu")
        except DemureError:
            return None

    def work(self, part: list[str] | PastPairs, listener: Listener) -> pd.DataFrame | np.ndarray | None:
        if self.loaded is None:
            return None
        if isinstance(part, PastPairs):
            return terms_alone(self.loaded, part)
        return self.loaded.recommend(part, self.k)


def suggest_many(
    run: Path, users: Sequence[str], k: int, executor: Executor, listener: Listener
) -> dict[str, list[Suggestion]]:
    """Return what ``demure.diagnosis.recommended.suggestions`` returns; empty if the model cannot be loaded.

    Raises ``RunError`` for a user that the dataset does not have.
    """
    from demure.runs.load import load_run_dataset

    try:
        manifest, dataset = load_run_dataset(run)
        histories = dataset.histories("train", "valid", "test")
        fit = fit_for_workers(run, manifest, dataset, executor)
    except MachineError:
        raise
    except DemureError:
        return {}
    task = SuggestTask(Path(os.path.abspath(run)), k, fit=fit)
    user_code = {str(user): code for code, user in enumerate(dataset.user_ids)}
    item_code = {str(item): code for code, item in enumerate(dataset.item_ids)}
    past_counts = np.minimum(histories.lengths, MAX_PAST)
    by_user: dict[str, list[Suggestion]] = {}
    for group in _groups(
        users, np.array([past_counts[user_code[user]] if user in user_code else 0 for user in users]) * k
    ):
        frame = _recommend(task, group, executor, listener)
        if frame is None:
            return {}
        pairs = past_pairs(frame, histories, user_code, item_code, manifest.modalities)
        terms = np.zeros(len(pairs.past))
        places = _by_past_item(pairs.past)
        for place, values in zip(
            places, executor.map(task, (pairs.select(place) for place in places), listener), strict=True
        ):
            terms[place] = values
        by_user |= with_past(group, frame, pairs, terms, dataset.item_ids)
        listener(Progress("recommend", len(by_user), len(users)))
    return by_user


def _groups(users: Sequence[str], pairs: np.ndarray) -> Iterator[Sequence[str]]:
    """Yield ``users`` in groups of at most about ``_PAIRS_TOGETHER``, of the ``pairs`` (U,) that each has."""
    group = np.cumsum(pairs) // _PAIRS_TOGETHER
    for first, last in itertools.pairwise([*np.flatnonzero(np.diff(group, prepend=-1)), len(users)]):
        yield users[first:last]


def _recommend(task: SuggestTask, users: Sequence[str], executor: Executor, listener: Listener) -> pd.DataFrame | None:
    """Return the table of recommended items; None if the model cannot be loaded."""
    import pandas as pd

    blocks = [list(users[start : start + _USERS_AT_ONCE]) for start in range(0, len(users), _USERS_AT_ONCE)]
    frames, done = [], 0
    for block, frame in zip(blocks, executor.map(task, blocks, listener), strict=True):
        if frame is None:
            return None
        frames.append(frame)
        done += len(block)
        listener(Progress("recommend", done, len(users)))
    together: pd.DataFrame = pd.concat(frames, ignore_index=True)
    return together


def _by_past_item(past: np.ndarray) -> list[np.ndarray]:
    """Return the places in ``past`` (P,), in parts that have all of some items each."""
    order = np.argsort(past, kind="stable")
    starts = np.flatnonzero(np.diff(past[order], prepend=-1))[::_PAST_ITEMS_AT_ONCE]
    return [order[first:last] for first, last in itertools.pairwise([*starts, len(order)])]
