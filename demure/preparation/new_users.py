"""Histories of new users, from a file, over the items of a dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from demure.data.dataset import Dataset
from demure.data.histories import Histories
from demure.preparation.cleaning import clean_interactions
from demure.preparation.interactions import CleaningRules, read_interactions
from demure.preparation.items import Items
from demure.preparation.later_files import advice_on_files, dataset_columns
from demure.preparation.problems import Findings
from demure.preparation.reading.formats import read_raw
from demure.preparation.reading.times import check_time_format


def read_histories(
    path: Path, dataset: Dataset, time_format: str | None = None
) -> tuple[np.ndarray, Histories, Findings]:
    """Read interactions of users that the dataset need not have.

    Returns the user ids (U,) in the order of the file, their histories in order of time (of the file, without
    timestamps, which are then None), and the findings: unusable rows, and rows with items that the dataset does not
    have, are dropped. A user with no item of the dataset has an empty history. ``time_format`` is the notation of the
    times, as of ``PrepareOptions``; `prepare --columns` holds for this file, too. Raises ``DataError`` for a file that
    cannot be read, that has no user_id and item_id, or that has no item of the dataset.
    """
    check_time_format(time_format)
    findings, rules = Findings(), CleaningRules(time_format=time_format)
    item_ids = np.asarray(dataset.item_ids, dtype=object)
    items = Items(item_ids, np.arange(len(item_ids), dtype=np.int64), len(item_ids))
    with advice_on_files(items=False):
        raw, _ = read_raw(Path(path), "auto", findings, dataset_columns(dataset, items=False))
        raw_interactions = read_interactions(raw, rules, findings)
        interactions, _ = clean_interactions(raw_interactions, items, dataset.path / "items.parquet", rules, findings)
    times = interactions.times if interactions.times is not None else np.zeros(len(interactions))
    order = np.lexsort((times, interactions.users))
    if interactions.times is None and dataset.has_time:
        findings.note(f"{Path(path).name}: no timestamps, so the rows are taken to be in order of time")
    lengths = np.bincount(interactions.users, minlength=len(interactions.user_ids))
    histories = Histories(
        indptr=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        items=interactions.items[order].astype(np.int64),
        times=times[order] if dataset.has_time and interactions.times is not None else None,
    )
    return np.asarray(interactions.user_ids, dtype=object), histories, findings


def finding_notes(findings: Findings) -> list[str]:
    """Return a line for each kind of problem in a file of histories."""
    notes = [*findings.notes]
    for problem in findings.problems.values():
        first = problem.first[0]
        notes.append(
            f"{problem.kind}: {problem.count} {problem.action}, first {first.file} row {first.row}: {first.value}"
        )
    return notes
