"""Frozen features, brought to a space where nearness can be compared: centred, truncated, whitened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SIGNAL = 0.5
_SAMPLE = 50_000
_BLOCK = 100_000  # rows in float64 at a time


@dataclass(frozen=True)
class Latent:
    """``coordinates`` (I, D) float32, zero rows where absent; ``spread`` (D,) standard deviations; ``present`` (I,)
    bool.

    Every column of ``coordinates`` has unit variance over the items that are present.
    """

    coordinates: np.ndarray
    spread: np.ndarray
    present: np.ndarray


def fit_latent(vectors: np.ndarray, present: np.ndarray, max_dim: int = 20) -> Latent:
    """Principal components of ``vectors`` (I, d) over the items ``present`` (I,), as many as stand out of the noise.

    Components are kept above the optimal hard threshold for unknown noise (Gavish and Donoho, "The Optimal Hard
    Threshold for Singular Values is 4/sqrt(3)", IEEE Trans. Inf. Theory 2014), at most ``max_dim``. Where those carry
    less than half of the variance there is no floor of noise to stand out of, and ``max_dim`` are kept.
    """
    present = present.copy()
    for part in _blocks(len(present)):
        present[part] &= np.isfinite(vectors[part]).all(axis=1)
    which = np.flatnonzero(present)
    rows, columns = len(which), vectors.shape[1]
    total = sum((vectors[w].astype(np.float64).sum(axis=0) for w in _split(which)), np.zeros(columns))
    centre = total / max(rows, 1)
    rng = np.random.default_rng(0)
    chosen = which if rows <= _SAMPLE else which[rng.choice(rows, _SAMPLE, replace=False)]
    sample = vectors[chosen].astype(np.float64) - centre
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
    axes = _signed(basis[:, :keep])
    for w in _split(which):
        coordinates[w] = (vectors[w].astype(np.float64) - centre) @ axes / spread
    return Latent(coordinates, spread.astype(np.float32), present)


def _blocks(rows: int) -> list[slice]:
    return [slice(at, at + _BLOCK) for at in range(0, rows, _BLOCK)]


def _split(which: np.ndarray) -> list[np.ndarray]:
    return [which[part] for part in _blocks(len(which))]


def _signed(basis: np.ndarray) -> np.ndarray:
    """The eigenvectors with their largest entry positive, so that the same features give the same coordinates."""
    largest = basis[np.abs(basis).argmax(axis=0), np.arange(basis.shape[1])]
    return basis * np.where(largest < 0, -1.0, 1.0)
