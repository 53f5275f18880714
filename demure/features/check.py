"""`demure features check`: whether features mean anything, at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from demure.errors import FeatureError
from demure.features import store

if TYPE_CHECKING:
    import pandas as pd

_SAMPLE = 4096
_TITLES = ("title", "text", "description")


@dataclass(frozen=True)
class Neighbour:
    """``similarity``: cosine of the two vectors less the mean vector."""

    item_id: str
    title: str
    similarity: float


@dataclass(frozen=True)
class Neighbours:
    """The items most similar to one."""

    item_id: str
    title: str
    nearest: list[Neighbour]


@dataclass(frozen=True)
class Checked:
    """One modality. ``norms``: least, median and greatest length of a vector.

    ``duplicates``: items whose vector another item has too, of which ``same_input`` have the same text or image (None
    where that is not known); ``constant``: columns with one value; ``similarity``: mean cosine of two items (1: all are
    the same direction); ``effective_dim``: (sum of variances)^2 / sum of their squares, over the principal axes;
    ``warnings``: what a person should look at.
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
    neighbours: list[Neighbours]


def check(
    dataset_path: Path, names: Sequence[str] = (), items: Sequence[str] = (), examples: int = 3, nearest: int = 4
) -> list[Checked]:
    """Look at the features ``names`` (default: all), with the ``nearest`` of the ``items``, or of ``examples`` items
    that lie evenly among those that have the modality. Raises ``DatasetError``, ``FeatureError``."""
    from demure.data.dataset import Dataset

    dataset = Dataset.load(Path(dataset_path))
    known = store.names(dataset.path)
    if not known:
        raise FeatureError("has no features", where=dataset.path, remedy="run `demure extract` first")
    table = dataset.items
    row = {str(one): k for k, one in enumerate(table["item_id"])}
    strange = next((one for one in items if one not in row), None)
    if strange is not None:
        raise FeatureError(f"no item {strange!r}", where=dataset.path, remedy="give an item_id of items.parquet")
    wanted = [row[one] for one in items]
    return [_check(dataset.path, name, table, wanted, examples, nearest) for name in names or known]


def _check(path: Path, name: str, table: pd.DataFrame, wanted: list[int], examples: int, nearest: int) -> Checked:
    features, facts = store.load(path, name), store.manifest(path, name)
    there = np.flatnonzero(features.present)
    if not len(there):
        raise FeatureError("no item has it", where=path / "features" / name, remedy="extract or import it again")
    vectors = features.vectors[there]
    lengths = np.linalg.norm(vectors, axis=1)
    _, group, sizes = np.unique(vectors.view(np.uint32), axis=0, return_inverse=True, return_counts=True)
    twice = sizes[group.ravel()] > 1
    mean = np.mean(vectors, axis=0, dtype=np.float64).astype(np.float32)
    units = _units(vectors)
    centred = _units(vectors - mean)
    sample = np.linspace(0, len(there) - 1, min(_SAMPLE, len(there))).astype(np.int64)
    numbers: dict[str, Any] = {
        "norms": tuple(float(value) for value in (lengths.min(), np.median(lengths), lengths.max())),
        "duplicates": int(twice.sum()),
        "same_input": _same_input(path, name, there[twice]),
        "constant": int((vectors == vectors[0]).all(axis=0).sum()),
        "similarity": _similarity(units),
        "effective_dim": _effective_dim(vectors[sample] - mean),
    }
    shown = [k for k in wanted if features.present[k]]
    if not wanted:
        shown = there[np.linspace(0, len(there) - 1, min(examples, len(there))).astype(np.int64)].tolist()
    titles = _titles(table)
    ids = table["item_id"].astype(str).tolist()
    return Checked(
        name=name,
        encoder=str(features.provenance.get("encoder")),
        items=len(features.present),
        present=len(there),
        missing=len(features.present) - len(there),
        dim=vectors.shape[1],
        **numbers,
        warnings=_warnings(facts, len(there), len(features.present), vectors.shape[1], numbers),
        neighbours=[_nearest(k, there, centred, ids, titles, nearest) for k in shown],
    )


def _units(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _similarity(units: np.ndarray) -> float:
    """Mean cosine over all pairs of two items: (|sum of units|^2 - n) / (n (n - 1))."""
    n = len(units)
    squared = float((np.sum(units, axis=0, dtype=np.float64) ** 2).sum())
    return (squared - n) / (n * (n - 1)) if n > 1 else 1.0


def _effective_dim(centred: np.ndarray) -> float:
    variances = np.linalg.eigvalsh(np.cov(centred.T.astype(np.float64)).reshape(centred.shape[1], -1))
    squares = float((variances**2).sum())
    return float(variances.sum() ** 2 / squares) if squares > 0 else 0.0


def _same_input(path: Path, name: str, items: np.ndarray) -> int | None:
    """Of the ``items`` those whose input another of them has too."""
    from safetensors import safe_open

    with safe_open(str(path / "features" / name / "features.safetensors"), framework="numpy") as file:
        if "inputs" not in file.keys():  # noqa: SIM118
            return None
        inputs = file.get_tensor("inputs")[items]
    if not len(items):
        return 0
    _, group, sizes = np.unique(inputs, axis=0, return_inverse=True, return_counts=True)
    return int((sizes[group.ravel()] > 1).sum())


def _warnings(facts: dict[str, Any], present: int, items: int, dim: int, numbers: dict[str, Any]) -> list[str]:
    told = []
    if present < items / 2:
        told.append(f"{items - present:,} of {items:,} items lack it")
    spare = numbers["duplicates"] - (numbers["same_input"] or 0)
    if spare > max(1, present // (100 if numbers["same_input"] is not None else 10)):
        whose = "different inputs" if numbers["same_input"] is not None else "another item"
        told.append(f"{spare:,} items have the vector of {whose}: a placeholder, or an encoder that sees no difference")
    if numbers["similarity"] > 0.9:
        told.append(f"collapsed: two items have a cosine of {numbers['similarity']:.2f} in the mean")
    if numbers["constant"]:
        told.append(f"{numbers['constant']:,} of {dim:,} columns have one value for all items")
    if dim >= 8 and numbers["effective_dim"] < 3:
        told.append(f"nearly all variance lies in {numbers['effective_dim']:.1f} directions of {dim:,}")
    least, median, most = numbers["norms"]
    if most > 10 * median or least < median / 10:
        told.append(f"lengths from {least:.3g} to {most:.3g}: some items outweigh others (training scales them down)")
    return told


def _titles(table: pd.DataFrame) -> list[str]:
    column = next((one for one in _TITLES if one in table.columns), None)
    return [""] * len(table) if column is None else table[column].fillna("").astype(str).tolist()


def _nearest(
    item: int, there: np.ndarray, centred: np.ndarray, ids: list[str], titles: list[str], nearest: int
) -> Neighbours:
    scores = centred @ centred[np.searchsorted(there, item)]
    scores[there == item] = -np.inf
    best = np.argsort(-scores, kind="stable")[: min(nearest, len(there) - 1)]
    found = [Neighbour(ids[there[k]], titles[there[k]], float(scores[k])) for k in best.tolist()]
    return Neighbours(ids[item], titles[item], found)
