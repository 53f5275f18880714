"""Histories of users that a dataset need not know, from a file, over the items of the dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from demure.data.dataset import Dataset
from demure.data.histories import Histories
from demure.prepare.interactions import Rules, clean, pick
from demure.prepare.items import Items
from demure.prepare.problems import Findings
from demure.prepare.reading.columns import Wanted
from demure.prepare.reading.formats import read


def read_histories(path: Path, dataset: Dataset) -> tuple[np.ndarray, Histories, Findings]:
    """Users (U,) in the order of the file, their histories in order of time (of the file without timestamps), and what
    was dropped: bad rows, and items that the dataset does not have.

    A user none of whose items is known has an empty history. Raises ``DataError`` for a file that cannot be read, has
    no user_id and item_id, or knows none of the dataset's items.
    """
    findings = Findings()
    raw, _ = read(Path(path), "auto", findings, Wanted())
    ids = np.asarray(dataset.item_ids, dtype=object)
    known = Items(ids, np.arange(len(ids), dtype=np.int64), len(ids))
    found, _ = clean(pick(raw, Rules(), findings), known, dataset.path / "items.parquet", Rules(), findings)
    times = found.times if found.times is not None else np.zeros(len(found))
    order = np.lexsort((times, found.users))
    if found.times is None and dataset.has_time:
        findings.note(f"{Path(path).name}: no timestamps, so the rows are taken to be in order of time")
    length = np.bincount(found.users, minlength=len(found.user_ids))
    indptr = np.concatenate([[0], np.cumsum(length)]).astype(np.int64)
    histories = Histories(indptr, found.items[order].astype(np.int64), times[order] if dataset.has_time else None)
    return np.asarray(found.user_ids, dtype=object), histories, findings
