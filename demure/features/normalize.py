"""Raw features scaled for a model: centred, of one scale, without columns or rows that dominate.

Shapes: I items, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demure.features.store import Features

COLUMN_LIMIT = 10.0
ROW_LIMIT = 5.0
ROWS = 100_000
"""Rows that statistics are taken from, and rows that are in memory in float64 at a time."""


@dataclass(frozen=True)
class RobustScale:
    """The centre (D,), scale (D,) and unit that :func:`fit_robust_scale` took from the features, float64."""

    centre: np.ndarray
    scale: np.ndarray
    unit: float

    def apply(self, vectors: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Return ``vectors`` (N, D) scaled, float32; rows that are not ``present`` (N,), or not finite, are zero."""
        present = _finite_rows(vectors, present)
        out = np.zeros(vectors.shape, dtype=np.float32)
        for rows in _blocks(len(present)):
            block = np.asarray(vectors[rows][present[rows]], dtype=np.float64) - self.centre
            block /= self.scale
            block /= np.maximum(np.linalg.norm(block, axis=1) / ROW_LIMIT, self.unit)[:, None]
            out[rows][present[rows]] = block
        return out


def robust_scale(features: Features) -> np.ndarray:
    """Return (I, D) float32: the median of present rows at zero, a typical present row of length 1, missing rows zero.

    One scale serves all columns, so that angles between items survive. Only a column whose spread is more than
    ``COLUMN_LIMIT`` times the median column's is reduced to that, and a row longer than ``ROW_LIMIT`` is shortened to
    it. Statistics are taken in float64, as sums of float16 features overflow. A row with a value that is not finite
    counts as missing.
    """
    return fit_robust_scale(features).apply(features.vectors, features.present)


def fit_robust_scale(features: Features) -> RobustScale:
    """Return the statistics of :func:`robust_scale`, which scale other vectors as those of the catalogue."""
    present = _finite_rows(features.vectors, features.present)
    columns = features.vectors.shape[1]
    if not present.any():
        return RobustScale(np.zeros(columns), np.ones(columns), 1.0)
    sampled = np.flatnonzero(present)
    if len(sampled) > ROWS:  # statistics of so many rows are close enough to the statistics of all
        sampled = np.sort(np.random.default_rng(0).choice(sampled, ROWS, replace=False))
    sample = np.asarray(features.vectors[sampled], dtype=np.float64)
    centre = np.median(sample, axis=0)
    sample = sample - centre
    spread = _spread(sample)
    typical = np.median(spread[spread > 0]) if (spread > 0).any() else 1.0
    scale = np.maximum(spread / (COLUMN_LIMIT * typical), 1.0)
    sample /= scale
    lengths = np.linalg.norm(sample, axis=1)
    unit = np.median(lengths[lengths > 0]) if (lengths > 0).any() else 1.0
    return RobustScale(centre, scale, float(unit))


def _finite_rows(vectors: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return which rows are ``present`` and finite, (N,) bool."""
    present = np.asarray(present, dtype=bool).copy()
    for rows in _blocks(len(present)):
        present[rows] &= np.isfinite(vectors[rows]).all(axis=1)
    return present


def _blocks(rows: int) -> list[slice]:
    return [slice(start, start + ROWS) for start in range(0, rows, ROWS)]


def _spread(rows: np.ndarray) -> np.ndarray:
    """Return half the range of the middle 68 % of each column, (D,); the standard deviation where that is zero."""
    low, high = np.percentile(rows, [16, 84], axis=0)
    spread: np.ndarray = (high - low) / 2
    return np.where(spread > 0, spread, rows.std(axis=0))
