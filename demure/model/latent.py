"""Reduce frozen features to a latent space in which distances can be compared: centred, truncated, whitened.

y_i = (v_i - mean) W diag(1 / spread), with the leading principal axes W of the items' feature vectors v_i.

Shape suffixes: I items, d columns of the features, D latent dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SIGNAL = 0.5  # least share of the variance that the kept components must carry
_SAMPLE = 50_000  # items for the covariance
_BLOCK = 100_000  # rows held in float64 at a time


@dataclass(frozen=True)
class Latent:
    """Latent coordinates of the items, of unit variance in every column over the items that are present.

    ``coordinates`` (I, D) float32, zero rows where absent; ``spread`` (D,) standard deviations before whitening;
    ``present`` (I,) bool.
    """

    coordinates: np.ndarray
    spread: np.ndarray
    present: np.ndarray


def fit_latent(vectors: np.ndarray, present: np.ndarray, max_dim: int = 20) -> Latent:
    """Return the principal components of ``vectors`` (I, d) over the items ``present`` (I,) that exceed the noise.

    Components above the optimal hard threshold for unknown noise are kept (Gavish and Donoho, "The Optimal Hard
    Threshold for Singular Values is 4/sqrt(3)", IEEE Trans. Inf. Theory 2014), at most ``max_dim``. If they carry less
    than half of the variance, the features have no noise floor, and ``max_dim`` components are kept.
    """
    present = present.copy()
    for part in _blocks(len(present)):
        present[part] &= np.isfinite(vectors[part]).all(axis=1)
    present_rows = np.flatnonzero(present)
    rows, columns = len(present_rows), vectors.shape[1]
    sums = (vectors[block].astype(np.float64).sum(axis=0) for block in _row_blocks(present_rows))
    centre = sum(sums, np.zeros(columns)) / max(rows, 1)
    rng = np.random.default_rng(0)
    sampled = present_rows if rows <= _SAMPLE else present_rows[rng.choice(rows, _SAMPLE, replace=False)]
    sample = vectors[sampled].astype(np.float64) - centre
    # The right singular vectors from the (d, d) covariance: features have hundreds of columns, items may be a million.
    variance, basis = np.linalg.eigh(sample.T @ sample / max(len(sample), 1))
    variance, basis = np.clip(variance[::-1], 0.0, None), basis[:, ::-1]
    aspect = min(columns / max(rows, 1), max(rows, 1) / max(columns, 1))
    threshold = 0.56 * aspect**3 - 0.95 * aspect**2 + 1.82 * aspect + 1.43
    singular = np.sqrt(variance)
    keep = int((singular > threshold * np.median(singular[: max(min(rows, columns), 1)])).sum())
    if variance[:keep].sum() < _SIGNAL * variance.sum():
        keep = max_dim
    keep = max(1, min(keep, max_dim, int((singular > 1e-6 * max(singular[0], 1e-12)).sum())))
    spread = np.maximum(singular[:keep], 1e-12)
    coordinates = np.zeros((len(vectors), keep), np.float32)
    axes = _fix_signs(basis[:, :keep])
    for block in _row_blocks(present_rows):
        coordinates[block] = (vectors[block].astype(np.float64) - centre) @ axes / spread
    return Latent(coordinates, spread.astype(np.float32), present)


def _blocks(rows: int) -> list[slice]:
    return [slice(start, start + _BLOCK) for start in range(0, rows, _BLOCK)]


def _row_blocks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[part] for part in _blocks(len(rows))]


def _fix_signs(basis: np.ndarray) -> np.ndarray:
    """Return the eigenvectors with their largest entry positive: the same features give the same coordinates."""
    largest = basis[np.abs(basis).argmax(axis=0), np.arange(basis.shape[1])]
    return basis * np.where(largest < 0, -1.0, 1.0)
