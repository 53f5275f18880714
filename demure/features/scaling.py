"""Raw features as a model can use them: centred, of one scale, without runaway columns or rows."""

from __future__ import annotations

import numpy as np

from demure.features.store import Features

COLUMN_LIMIT = 10.0
ROW_LIMIT = 5.0


def robust(features: Features) -> np.ndarray:
    """(I, d) float32: the median of present rows at zero, a typical present row of length 1, missing rows zero.

    One scale serves all columns, so that angles between items survive; only a column whose spread is more than
    ``COLUMN_LIMIT`` times the median column's is brought down to that, and a row longer than ``ROW_LIMIT`` is
    shortened to it. Statistics are taken in float64: sums of float16 features overflow. A row with a value that is
    not finite counts as missing.
    """
    vectors = np.asarray(features.vectors, dtype=np.float64)
    present = np.asarray(features.present, dtype=bool) & np.isfinite(vectors).all(axis=1)
    out = np.zeros(vectors.shape, dtype=np.float32)
    if not present.any():
        return out
    rows = vectors[present]
    rows = rows - np.median(rows, axis=0)
    spread = _spread(rows)
    typical = np.median(spread[spread > 0]) if (spread > 0).any() else 1.0
    rows /= np.maximum(spread / (COLUMN_LIMIT * typical), 1.0)
    lengths = np.linalg.norm(rows, axis=1)
    unit = np.median(lengths[lengths > 0]) if (lengths > 0).any() else 1.0
    rows /= np.maximum(lengths / ROW_LIMIT, unit)[:, None]
    out[present] = rows
    return out


def _spread(rows: np.ndarray) -> np.ndarray:
    """Half the range of the middle 68 % of each column; the standard deviation where that is zero (sparse columns)."""
    low, high = np.percentile(rows, [16, 84], axis=0)
    spread = (high - low) / 2
    return np.where(spread > 0, spread, rows.std(axis=0))
