"""Find features that are alike for all items: they can be no reason for a choice.

Shapes: n items, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from demure.data.feature_manifest import VECTORS, feature_files
from demure.errors import FeatureError
from demure.features import rows

SMALLEST_SPREAD = 2e-3
"""A column whose standard deviation is a smaller share of its values is constant: float16 rounds nearly as coarsely."""
SHARE_OF_ONE = 0.99
"""Features are alike for all items from this share of items with one and the same vector."""
_SAMPLE, _BLOCK = 20_000, 500


def constant_columns(vectors: np.ndarray) -> np.ndarray:
    """Return which columns of (n, D) have one value for all items, but for rounding, (D,) bool."""
    values = vectors.astype(np.float64)
    spread = values.std(axis=0)
    constant: np.ndarray = spread <= SMALLEST_SPREAD * np.sqrt(np.mean(values**2, axis=0))
    return constant


def why_constant(vectors: np.ndarray) -> str | None:
    """Return how the vectors (n, D) of different items are alike, as a phrase; None if they differ."""
    if len(vectors) < 2:
        return None
    if constant_columns(vectors).all():
        return "all items have the same vector, but for rounding" if vectors.std() else "all items have the same vector"
    same = _share_of_most_frequent(vectors)
    return f"{100 * same:.3g} % of the items have one and the same vector" if same >= SHARE_OF_ONE else None


def constant_features(dataset_path: Path, names: Sequence[str]) -> dict[str, str]:
    """Return name -> why, for the features of ``names`` that are alike for all items.

    Looks at most at ``_SAMPLE`` rows. Changed and damaged files are left to ``store.load``, which names what is wrong.
    """
    reasons = {}
    for name in names:
        sample = _sample(dataset_path, name)
        reason = None if sample is None else why_constant(sample)
        if reason is not None:
            reasons[name] = reason
    return reasons


def leave_out_constant(dataset_path: Path, names: Sequence[str]) -> list[str]:
    """Return ``names`` without the features that are alike for all items. Raises ``FeatureError`` if all are alike."""
    constant = constant_features(dataset_path, names)
    if constant and len(constant) == len(names):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in constant.items())
        raise FeatureError(
            f"no modality differs between items ({reasons})",
            where=Path(dataset_path) / "features",
            remedy="extract or import features that do",
        )
    return [name for name in names if name not in constant]


def _share_of_most_frequent(vectors: np.ndarray) -> float:
    whole = np.ascontiguousarray(vectors + 0.0)  # one zero, not two
    keys = whole.view(np.dtype((np.void, whole.dtype.itemsize * whole.shape[1]))).ravel()
    _, counts = np.unique(keys, return_counts=True)
    return float(counts.max() / len(vectors))


def _sample(dataset_path: Path, name: str) -> np.ndarray | None:
    """Return vectors of items that are present, (n, D), from blocks spread over all rows; None if they are damaged."""
    from safetensors import SafetensorError, safe_open

    try:
        file = feature_files(dataset_path, name).file(VECTORS)
        with safe_open(str(file), framework="numpy") as arrays:
            present = arrays.get_tensor("present").astype(bool)
        reader = rows.RowReader(file, "vectors")
        total = reader.shape[0]
        if total <= _SAMPLE:
            starts, length = [0], total
        else:
            starts, length = np.linspace(0, total - _BLOCK, _SAMPLE // _BLOCK).astype(int).tolist(), _BLOCK
        blocks = [reader.read(start, start + length)[present[start : start + length]] for start in starts]
    except (OSError, ValueError, KeyError, IndexError, TypeError, SafetensorError, FeatureError):
        return None
    sample = np.concatenate(blocks).astype(np.float32)
    return sample if np.isfinite(sample).all() else None
