"""Verdicts of the training for users of a later file whose history is the one that the training had.

What a model learned from users is evidence for themselves: their own pairs of choices are among the counts of the
rivals of content. The training left them out, so its verdicts are the ones to show.

Shapes: U users of the file.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from demure.data.dataset import Dataset
from demure.data.histories import Histories
from demure.diagnosis.reader import DiagnosisReader


def has_training_history(user_ids: np.ndarray, histories: Histories, dataset: Dataset) -> np.ndarray:
    """Return whether the history of each user of the file (U,) is the same user's history in the training."""
    train = dataset.histories("train")
    same = np.zeros(len(user_ids), bool)
    for user, code in enumerate(pd.Index(dataset.user_ids).get_indexer(pd.Index(user_ids))):
        if code < 0 or not histories.lengths[user] or histories.lengths[user] != train.lengths[code]:
            continue
        own, trained = (part.slice_users(k, k + 1) for part, k in ((histories, user), (train, int(code))))
        same[user] = np.array_equal(own.items, trained.items)
        if own.times is not None and trained.times is not None:
            same[user] &= np.array_equal(own.times, trained.times)
    return same


def with_training_verdicts(
    tables: Mapping[str, pa.Table], reader: DiagnosisReader, user_ids: np.ndarray, same: np.ndarray
) -> dict[str, pa.Table] | None:
    """Return the ``tables`` of a diagnosis of ``user_ids`` (U,), with the rows that the run has for users who are the
    ``same`` (U,); None for a run of an earlier version, which lacks some of the columns."""
    replaced = {}
    everyone, those = pa.array(user_ids, pa.string()), pa.array(user_ids[same], pa.string())
    for name, table in tables.items():
        if not set(table.column_names) <= set(reader.files.columns(name)):
            return None
        own = pc.is_in(table["user_id"], value_set=those)
        stored = reader.files.table(name, table.column_names, filters=pc.field("user_id").isin(those))
        both = pa.concat_tables([table.filter(pc.invert(own)), stored.select(table.column_names).cast(table.schema)])
        order = np.argsort(pc.index_in(both["user_id"], value_set=everyone).to_numpy(), kind="stable")
        replaced[name] = both.take(order)
    return replaced
