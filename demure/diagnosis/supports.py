"""Which other choices spoke for each verdict: supports.parquet by rows of the diagnosis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from demure.diagnosis.table import Judged, codes

MOST = 3
_NAMES = ["user_id", "modality", "support_item_id"]


def supports(path: Path, judged: Judged) -> np.ndarray:
    """(N, M, 3) int32: codes of the items that spoke for each verdict of ``judged``, best first, -1 where there are
    fewer. Read a row group at a time. Raises ``OSError`` or pyarrow's errors if the file is damaged."""
    out = np.full((len(judged.user), len(judged.modalities), MOST), -1, np.int32)
    slot = {name: m for m, name in enumerate(judged.modalities)}
    file = pq.ParquetFile(path, read_dictionary=_NAMES)
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, columns=[*_NAMES, "position", "support_rank"])
        user, m, item = (
            _known(table.column(name), known)
            for name, known in zip(_NAMES, (judged.user_code, slot, judged.item_code), strict=True)
        )
        rank = table.column("support_rank").to_numpy().astype(np.int64) - 1
        # The positions of a user's choices are their places in the history, so they say which row is meant.
        place = table.column("position").to_numpy().astype(np.int64)
        good = (user >= 0) & (m >= 0) & (item >= 0) & (rank >= 0) & (rank < MOST) & (place >= 0)
        good[good] = place[good] < judged.lengths[user[good]]
        out[judged.indptr[user[good]] + place[good], m[good], rank[good]] = item[good]
    return out


def _known(column: pa.ChunkedArray, known: dict[str, int]) -> np.ndarray:
    """Codes (rows,) of the values of a column among the ``known``, -1 for others."""
    code, values = codes(column)
    if not len(values):
        return np.full(len(code), -1, np.int64)
    return np.array([known.get(str(value), -1) for value in values], np.int64)[code]
