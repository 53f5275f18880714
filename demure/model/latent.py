"""Reduce frozen features to a latent space in which distances can be compared: centred, truncated, whitened.

y_i = (v_i - mean) W diag(1 / spread), with the leading principal axes W of the items' feature vectors v_i.

Shape suffixes: I items, d columns of the features, D latent dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from demure.features.normalize import RobustScale, fit_robust_scale
from demure.features.store import Features
from demure.model.popularity import remove_time_trend

if TYPE_CHECKING:
    from torch import Tensor

    from demure.data.histories import Histories

_SIGNAL = 0.5  # least share of the variance that the kept components must carry
_SAMPLE = 50_000  # items for the covariance
_BLOCK = 100_000  # rows held in float64 at a time


@dataclass(frozen=True)
class Axes:
    """The affine map from feature vectors to latent coordinates: ``mean`` (d,), ``axes`` (d, D), ``spread`` (D,)."""

    mean: np.ndarray
    axes: np.ndarray
    spread: np.ndarray

    def apply(self, vectors: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Return the coordinates (N, D) float32 of ``vectors`` (N, d), zero where not ``present`` (N,)."""
        coordinates = np.zeros((len(vectors), len(self.spread)), np.float32)
        for block in _row_blocks(np.flatnonzero(present)):
            coordinates[block] = (vectors[block].astype(np.float64) - self.mean) @ self.axes / self.spread
        return coordinates


@dataclass(frozen=True)
class Projection:
    """How raw feature vectors become latent coordinates: scaled robustly, then along the principal axes."""

    scale: RobustScale
    axes: Axes

    def apply(self, vectors: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Return the coordinates (N, D) float32 of raw ``vectors`` (N, d), zero where not ``present`` (N,)."""
        return self.axes.apply(self.scale.apply(vectors, present), present)


@dataclass(frozen=True)
class Latent:
    """Latent coordinates of the items, of unit variance in every column over the items that are present.

    ``coordinates`` (I, D) float32, zero rows where absent; ``spread`` (D,) standard deviations before whitening;
    ``present`` (I,) bool. ``projection`` gives new vectors their coordinates; None where the vectors were not scaled.
    """

    coordinates: np.ndarray
    spread: np.ndarray
    present: np.ndarray
    projection: Projection | None = None


def project_features(features: Features, max_dim: int, timed: Histories | None = None) -> Latent:
    """Return the latent space of raw features, with its projection.

    With ``timed`` training histories, features lose what they reveal about the time of choices
    (:func:`demure.model.popularity.remove_time_trend`). That is no part of the projection: items without choices lose
    nothing.
    """
    scale = fit_robust_scale(features)
    vectors = scale.apply(features.vectors, features.present)
    if timed is not None:
        vectors = remove_time_trend(vectors, features.present, timed)
    present = _finite_rows(vectors, features.present)
    axes = fit_axes(vectors, present, max_dim)
    return Latent(axes.apply(vectors, present), axes.spread.astype(np.float32), present, Projection(scale, axes))


def fit_latent(vectors: np.ndarray, present: np.ndarray, max_dim: int = 20) -> Latent:
    """Return the latent space of ``vectors`` (I, d) by :func:`fit_axes`; rows that are not finite count as absent."""
    present = _finite_rows(vectors, present)
    axes = fit_axes(vectors, present, max_dim)
    return Latent(axes.apply(vectors, present), axes.spread.astype(np.float32), present)


def fit_axes(vectors: np.ndarray, present: np.ndarray, max_dim: int) -> Axes:
    """Return the principal components of ``vectors`` (I, d) over the items ``present`` (I,) that exceed the noise.

    Components above the optimal hard threshold for unknown noise are kept (Gavish and Donoho, "The Optimal Hard
    Threshold for Singular Values is 4/sqrt(3)", IEEE Trans. Inf. Theory 2014), at most ``max_dim``. If they carry less
    than half of the variance, the features have no noise floor, and ``max_dim`` components are kept.
    """
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
    return Axes(centre, _fix_signs(basis[:, :keep]), np.maximum(singular[:keep], 1e-12))


def projection_tensors(latents: Mapping[str, Latent]) -> dict[str, Tensor]:
    """Return the projections of the latent spaces as tensors to store, numbered in their order."""
    import torch

    tensors: dict[str, Tensor] = {}
    for m, latent in enumerate(latents.values()):
        assert latent.projection is not None
        scale, axes = latent.projection.scale, latent.projection.axes
        arrays = {"centre": scale.centre, "scale": scale.scale, "unit": np.array([scale.unit]), **vars(axes)}
        tensors |= {f"m{m}.{name}": torch.as_tensor(np.ascontiguousarray(array)) for name, array in arrays.items()}
    return tensors


def projections_from(tensors: Mapping[str, Tensor], modalities: Sequence[str]) -> dict[str, Projection]:
    """Return the projections of ``modalities`` from stored tensors. Raises ``KeyError`` if one is missing."""
    projections = {}
    for m, modality in enumerate(modalities):
        part = {name: tensors[f"m{m}.{name}"].numpy() for name in ("centre", "scale", "unit", "mean", "axes", "spread")}
        scale = RobustScale(part["centre"], part["scale"], float(part["unit"][0]))
        projections[modality] = Projection(scale, Axes(part["mean"], part["axes"], part["spread"]))
    return projections


def _finite_rows(vectors: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return which rows are ``present`` and finite, (N,) bool."""
    present = present.copy()
    for part in _blocks(len(present)):
        present[part] &= np.isfinite(vectors[part]).all(axis=1)
    return present


def _blocks(rows: int) -> list[slice]:
    return [slice(start, start + _BLOCK) for start in range(0, rows, _BLOCK)]


def _row_blocks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[part] for part in _blocks(len(rows))]


def _fix_signs(basis: np.ndarray) -> np.ndarray:
    """Return the eigenvectors with their largest entry positive: the same features give the same coordinates."""
    largest = basis[np.abs(basis).argmax(axis=0), np.arange(basis.shape[1])]
    return basis * np.where(largest < 0, -1.0, 1.0)
