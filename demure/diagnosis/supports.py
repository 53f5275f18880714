"""The other choices with the largest shares of each density ratio: supports.parquet, aligned with the diagnosis."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from demure.diagnosis.table import DiagnosisTable, check_columns, dictionary_codes
from demure.integrity import CheckedFolder
from demure.runs.folder import SUPPORTS

MAX_SUPPORTS = 3
_NAMES = ["user_id", "modality", "support_item_id"]


def read_supports(files: CheckedFolder, table: DiagnosisTable) -> np.ndarray:
    """Return (N, M, 3) int32: codes of the items with the largest shares of the density ratio of each row and modality
    of ``table``, largest first, -1 where there are fewer.

    Reads one row group at a time. Raises ``RunError`` if the file was changed, ``OSError`` or pyarrow's errors if it is
    damaged.
    """
    supports = np.full((len(table.user), len(table.modalities), MAX_SUPPORTS), -1, np.int32)
    modality_code = {name: m for m, name in enumerate(table.modalities)}
    with files.parquet(SUPPORTS, _NAMES) as file:
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group, columns=[*_NAMES, "position", "support_rank"])
            check_columns(rows, files, SUPPORTS)
            user, m, item = (
                _code_column(rows.column(name), code_of)
                for name, code_of in zip(_NAMES, (table.user_code, modality_code, table.item_code), strict=True)
            )
            rank = rows.column("support_rank").to_numpy().astype(np.int64) - 1
            # A position is the place in the user's history: the row of the diagnosis is the user's first row plus it.
            position = rows.column("position").to_numpy().astype(np.int64)
            valid = (user >= 0) & (m >= 0) & (item >= 0) & (rank >= 0) & (rank < MAX_SUPPORTS) & (position >= 0)
            valid[valid] = position[valid] < table.lengths[user[valid]]
            supports[table.indptr[user[valid]] + position[valid], m[valid], rank[valid]] = item[valid]
    return supports


def _code_column(column: pa.ChunkedArray, code_of: dict[str, int]) -> np.ndarray:
    """Return the code (rows,) of each value of a column, -1 for a value without one."""
    codes, values = dictionary_codes(column)
    if not len(values):
        return np.full(len(codes), -1, np.int64)
    code_of_value = np.array([code_of.get(str(value), -1) for value in values], np.int64)
    return np.take(code_of_value, codes)
