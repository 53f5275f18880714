"""The result of `demure features check`: numbers and examples by which a person sees whether features mean anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from demure.data.feature_manifest import read_arrays
from demure.data.titles import item_titles
from demure.errors import FeatureError
from demure.features import store
from demure.features.constant import constant_columns, why_constant

if TYPE_CHECKING:
    import pandas as pd

_SAMPLE = 4096


@dataclass(frozen=True)
class SimilarItem:
    """An item near another one; ``similarity`` is the cosine of the two vectors less the mean vector."""

    item_id: str
    title: str
    similarity: float


@dataclass(frozen=True)
class ItemExample:
    """An item, and the items most similar to it."""

    item_id: str
    title: str
    nearest: list[SimilarItem]


@dataclass(frozen=True)
class FeatureCheck:
    """The check of one modality.

    Attributes:
        norms: least, median and greatest length of a vector.
        duplicates: items whose vector another item has too.
        same_input: duplicates that have the same text or image; None where the inputs were not recorded.
        constant: columns with one value for all items, but for rounding.
        similarity: mean cosine of two items; 1 if all vectors have one direction.
        effective_dim: (sum of variances)^2 / sum of squared variances, over the principal axes.
        warnings: sentences on what a person should look at.
        neighbours: a few items, each with the items most similar to it.
    """

    name: str
    encoder: str
    items: int
    present: int
    missing: int
    dim: int
    norms: tuple[float, float, float]
    duplicates: int
    same_input: int | None
    constant: int
    similarity: float
    effective_dim: float
    warnings: list[str]
    neighbours: list[ItemExample]


def check_features(
    dataset_path: Path, names: Sequence[str] = (), items: Sequence[str] = (), examples: int = 3, nearest: int = 4
) -> list[FeatureCheck]:
    """Check the features ``names``, by default all features of the dataset.

    ``items`` are ids of the items to show with their ``nearest`` most similar items; by default ``examples`` items are
    taken at even distances from the items with the modality. Raises ``DatasetError``, ``FeatureError``.
    """
    from demure.data.dataset import Dataset

    dataset = Dataset.load(Path(dataset_path))
    available = store.names(dataset.path)
    if not available:
        raise FeatureError("has no features", where=dataset.path, remedy="run `demure extract` first")
    table = dataset.items
    row = {str(item_id): k for k, item_id in enumerate(table["item_id"])}
    absent = next((item_id for item_id in items if item_id not in row), None)
    if absent is not None:
        raise FeatureError(f"no item {absent!r}", where=dataset.path, remedy="give an item_id of items.parquet")
    wanted = [row[item_id] for item_id in items]
    return [_check(dataset.path, name, table, wanted, examples, nearest) for name in names or available]


def _check(path: Path, name: str, table: pd.DataFrame, wanted: list[int], examples: int, nearest: int) -> FeatureCheck:
    features = store.load(path, name)
    with_vector = np.flatnonzero(features.present)
    if not len(with_vector):
        raise FeatureError("no item has it", where=path / "features" / name, remedy="extract or import it again")
    vectors = features.vectors[with_vector]
    lengths = np.linalg.norm(vectors, axis=1)
    _, group, sizes = np.unique(vectors.view(np.uint32), axis=0, return_inverse=True, return_counts=True)
    duplicated = sizes[group.ravel()] > 1
    mean = np.mean(vectors, axis=0, dtype=np.float64).astype(np.float32)
    units = _units(vectors)
    centred = _units(vectors - mean)
    sample = np.linspace(0, len(with_vector) - 1, min(_SAMPLE, len(with_vector))).astype(np.int64)
    numbers: dict[str, Any] = {
        "norms": tuple(float(value) for value in (lengths.min(), np.median(lengths), lengths.max())),
        "duplicates": int(duplicated.sum()),
        "same_input": _same_input(path, name, with_vector[duplicated]),
        "constant": int(constant_columns(vectors).sum()),
        "alike": why_constant(vectors),
        "similarity": _similarity(units),
        "effective_dim": _effective_dim(vectors[sample] - mean),
    }
    shown = [k for k in wanted if features.present[k]]
    if not wanted:
        spaced = np.linspace(0, len(with_vector) - 1, min(examples, len(with_vector)))
        shown = with_vector[spaced.astype(np.int64)].tolist()
    ids = table["item_id"].astype(str).tolist()
    titles = item_titles(table) or dict.fromkeys(ids, "")
    return FeatureCheck(
        name=name,
        encoder=str(features.provenance.get("encoder")),
        items=len(features.present),
        present=len(with_vector),
        missing=len(features.present) - len(with_vector),
        dim=vectors.shape[1],
        **{name: number for name, number in numbers.items() if name != "alike"},
        warnings=_warnings(len(with_vector), len(features.present), vectors.shape[1], numbers),
        neighbours=[_example(k, with_vector, centred, ids, titles, nearest) for k in shown],
    )


def _units(vectors: np.ndarray) -> np.ndarray:
    units: np.ndarray = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return units


def _similarity(units: np.ndarray) -> float:
    """Return the mean cosine over all pairs of two items: (|sum of units|^2 - n) / (n (n - 1))."""
    n = len(units)
    squared = float((np.sum(units, axis=0, dtype=np.float64) ** 2).sum())
    return (squared - n) / (n * (n - 1)) if n > 1 else 1.0


def _effective_dim(centred: np.ndarray) -> float:
    variances = np.linalg.eigvalsh(np.cov(centred.T.astype(np.float64)).reshape(centred.shape[1], -1))
    squares = float((variances**2).sum())
    return float(variances.sum() ** 2 / squares) if squares > 0 else 0.0


def _same_input(path: Path, name: str, items: np.ndarray) -> int | None:
    """Return how many of the ``items`` share their input with another of them; None if inputs were not recorded."""
    inputs = read_arrays(path, name, ("inputs",)).get("inputs")
    if inputs is None:
        return None
    inputs = inputs[items]
    if not len(items):
        return 0
    _, group, sizes = np.unique(inputs, axis=0, return_inverse=True, return_counts=True)
    return int((sizes[group.ravel()] > 1).sum())


def _warnings(present: int, items: int, dim: int, numbers: dict[str, Any]) -> list[str]:
    warnings = []
    if numbers["alike"]:
        warnings.append(f"{numbers['alike']}: it can be no reason for a choice, and `demure train` leaves it out")
    if present < items / 2:
        warnings.append(f"{items - present:,} of {items:,} items lack it")
    spare = numbers["duplicates"] - (numbers["same_input"] or 0)
    if spare > max(1, present // (100 if numbers["same_input"] is not None else 10)):
        whose = "different inputs" if numbers["same_input"] is not None else "another item"
        warnings.append(
            f"{spare:,} items have the vector of {whose}: a placeholder, or an encoder that sees no difference"
        )
    if numbers["similarity"] > 0.9:
        warnings.append(f"collapsed: two items have a cosine of {numbers['similarity']:.2f} in the mean")
    if numbers["constant"]:
        warnings.append(f"{numbers['constant']:,} of {dim:,} columns have one value for all items")
    if dim >= 8 and numbers["effective_dim"] < 3:
        warnings.append(f"nearly all variance lies in {numbers['effective_dim']:.1f} directions of {dim:,}")
    least, median, most = numbers["norms"]
    if most > 10 * median or least < median / 10:
        warnings.append(
            f"lengths from {least:.3g} to {most:.3g}: some items outweigh others (training scales them down)"
        )
    return warnings


def _example(
    item: int, with_vector: np.ndarray, centred: np.ndarray, ids: list[str], titles: dict[str, str], nearest: int
) -> ItemExample:
    """Return ``item`` with the items most similar to it; row k of ``centred`` belongs to item ``with_vector[k]``."""
    scores = centred @ centred[np.searchsorted(with_vector, item)]
    scores[with_vector == item] = -np.inf
    best = np.argsort(-scores, kind="stable")[: min(nearest, len(with_vector) - 1)]
    similar = [SimilarItem(ids[with_vector[k]], titles[ids[with_vector[k]]], float(scores[k])) for k in best.tolist()]
    return ItemExample(ids[item], titles[ids[item]], similar)
