"""`demure eval --per-user`: the metrics and hits of every user in every run, as one Parquet file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from demure.evaluation.slices import most_relied_on

if TYPE_CHECKING:
    import pandas as pd

    from demure.runs.ranking import RankedRuns


def write_per_user(out: Path, ranked: RankedRuns, reliance: pd.DataFrame | None) -> None:
    """Write a row per run and user, with every metric and the facts that slices rest on.

    ``history``: length of the history before the split; ``relevant_items`` and their ``ranks`` (0: not among the first
    max(k)); ``relies_on``: the modality that the user relies on most, by the table ``reliance``.
    """
    user_ids, item_ids = ranked.dataset.user_ids, ranked.dataset.item_ids
    relied = None
    if reliance is not None:
        slicing = most_relied_on(reliance, user_ids)
        relied = np.array([*slicing.labels[:-1], None], dtype=object)[slicing.code]
    tables = []
    for name, evaluation in ranked.evaluations.items():
        users, ranks = evaluation.users, evaluation.relevant_ranks
        assert ranks is not None
        offsets = np.searchsorted(ranks.row, np.arange(len(users) + 1)).astype(np.int32)
        columns: dict[str, pa.Array] = {
            "run": pa.array([name] * len(users), pa.string()),
            "user_id": pa.array(user_ids[users], pa.string()),
            **{metric: pa.array(values, pa.float64()) for metric, values in evaluation.per_user.items()},
            "history": pa.array(ranked.past.lengths[users], pa.int64()),
            "relies_on": pa.array([None] * len(users) if relied is None else relied[users], pa.string()),
            "relevant_items": pa.ListArray.from_arrays(offsets, pa.array(item_ids[ranks.item], pa.string())),
            "ranks": pa.ListArray.from_arrays(offsets, pa.array(ranks.rank, pa.int64())),
        }
        tables.append(pa.table(columns))
    pq.write_table(pa.concat_tables(tables), out)
