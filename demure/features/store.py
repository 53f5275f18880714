"""Features in a dataset folder: ``features/NAME/features.safetensors``, and ``features.json`` on what made it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from demure import __version__
from demure.errors import FeatureError
from demure.features import rows
from demure.files import atomic_folder, read_json, sha256_bytes, sha256_file, write_json

FORMAT_VERSION = 1
RESERVED = {"none", "history"}


@dataclass(frozen=True)
class Features:
    """One modality: ``vectors`` (I, d) float32, zero where missing; ``present`` (I,) bool; row k = item k."""

    name: str
    vectors: np.ndarray
    present: np.ndarray
    provenance: dict[str, Any] = field(default_factory=dict)


def check_name(name: str) -> None:
    """Raise ``FeatureError`` for a modality name that cannot be a folder or means something else in results."""
    if name in RESERVED or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
        raise FeatureError(
            f"{name!r} cannot name a modality",
            where="features",
            remedy=f"use letters, digits, - and _, but not {' or '.join(sorted(RESERVED))}",
        )


def names(dataset_path: Path) -> list[str]:
    """The modalities of a dataset folder, sorted."""
    root = Path(dataset_path) / "features"
    if not root.is_dir():
        return []
    return sorted(p.name for p in root.iterdir() if not p.name.startswith(".") and (p / "features.json").is_file())


def item_ids(dataset_path: Path) -> np.ndarray:
    """(I,) str, from the dataset folder's ``items.parquet``."""
    import pandas as pd

    path = Path(dataset_path) / "items.parquet"
    try:
        return pd.read_parquet(path, columns=["item_id"])["item_id"].astype(str).to_numpy(dtype=object)
    except (OSError, ValueError, KeyError) as error:
        raise FeatureError(
            f"the items cannot be read ({type(error).__name__})", where=path, remedy="give a prepared dataset folder"
        ) from error


def ids_hash(ids: Iterable[str]) -> str:
    """Hex digest of the item ids in their order."""
    return sha256_bytes(*(str(one).encode() for one in ids))


def save(dataset_path: Path, features: Features, texts: Mapping[str, str] | None = None) -> Path:
    """Write ``features/NAME/`` whole or not at all, replacing what was there; return the folder.

    ``texts`` are further files, name -> content. Vectors that float16 holds exactly are stored as float16. Raises
    ``FeatureError`` if the rows are not the dataset's items or a value is not finite.
    """
    present = np.asarray(features.present, dtype=bool)
    vectors = np.array(features.vectors, dtype=np.float32)
    if vectors.ndim != 2 or not vectors.shape[1] or len(vectors) != len(present):
        raise FeatureError(
            f"features of shape {vectors.shape} with {present.size} marks",
            where=features.name,
            remedy="give one row per item",
        )
    vectors[~present] = 0
    if not np.isfinite(vectors).all():
        raise FeatureError("a value is not finite", where=features.name, remedy="mark such rows as missing")
    shape = Shape(features.name, present, vectors.shape[1], half=fits_half(vectors))
    return save_rows(dataset_path, shape, [(np.arange(len(vectors)), vectors)], features.provenance, texts)


def fits_half(vectors: np.ndarray) -> bool:
    """Whether float16 holds every value exactly."""
    with np.errstate(over="ignore"):
        return bool(np.array_equal(vectors.astype(np.float16).astype(np.float32), vectors))


@dataclass(frozen=True)
class Shape:
    """What is known before the vectors are: ``present`` (I,) bool, ``dim``, whether they are stored as ``half``, and
    ``inputs`` (I, 16) uint8: a hash of what each item's vector was made of (zeros where it has none)."""

    name: str
    present: np.ndarray
    dim: int
    half: bool
    inputs: np.ndarray | None = None


def save_rows(
    dataset_path: Path,
    shape: Shape,
    blocks: Iterable[tuple[np.ndarray, np.ndarray]],
    provenance: dict[str, Any],
    texts: Mapping[str, str] | None = None,
) -> Path:
    """``save``, from ``blocks`` of item numbers (n,) and their vectors (n, d), so that all need not fit in memory.

    Items that no block has are zero. Raises ``FeatureError`` if the rows are not the dataset's items.
    """
    check_name(shape.name)
    ids = item_ids(dataset_path)
    if shape.present.shape != (len(ids),):
        raise FeatureError(
            f"{shape.present.size} rows for {len(ids)} items", where=shape.name, remedy="give one row per item"
        )
    others = {"present": shape.present.astype(np.uint8), "item_ids": _as_bytes(ids)}
    if shape.inputs is not None:
        others["inputs"] = np.where(shape.present[:, None], shape.inputs, np.uint8(0))
    dtype = np.dtype(np.float16 if shape.half else np.float32)
    folder = Path(dataset_path) / "features" / shape.name
    with atomic_folder(folder, overwrite=True) as part:
        file = part / "features.safetensors"
        rows.write(file, "vectors", (len(ids), shape.dim), dtype, blocks, others)
        for name, content in (texts or {}).items():
            (part / name).write_text(content, encoding="utf-8")
        present = int(shape.present.sum())
        manifest = {
            "format_version": FORMAT_VERSION,
            "demure_version": __version__,
            "name": shape.name,
            "items": len(ids),
            "present": present,
            "missing": len(ids) - present,
            "dim": shape.dim,
            "dtype": str(dtype),
            "item_ids_sha256": ids_hash(ids),
            "features_sha256": sha256_file(file),
            "provenance": provenance,
        }
        write_json(part / "features.json", manifest)
    return folder


def _as_bytes(ids: Iterable[str]) -> np.ndarray:
    """The ids as one JSON array in UTF-8: safetensors holds no text."""
    return np.frombuffer(json.dumps([str(one) for one in ids], ensure_ascii=False).encode(), dtype=np.uint8)


def manifest(dataset_path: Path, name: str) -> dict[str, Any]:
    """``features/NAME/features.json``; raises ``FeatureError`` if it is absent, damaged or of another version."""
    path = Path(dataset_path) / "features" / name / "features.json"
    if not path.is_file():
        have = ", ".join(names(dataset_path)) or "none"
        raise FeatureError(
            f"no features {name!r} (there are: {have})", where=dataset_path, remedy="run `demure extract` first"
        )
    found = read_json(path)
    if not isinstance(found, dict) or found.get("format_version") != FORMAT_VERSION:
        version = found.get("format_version") if isinstance(found, dict) else None
        raise FeatureError(
            f"format version {version}, this demure reads {FORMAT_VERSION}",
            where=path,
            remedy="run `demure extract --no-resume` again",
        )
    return found


def intact(dataset_path: Path, name: str) -> bool:
    """Whether the stored vectors are the bytes that the manifest speaks of."""
    file = Path(dataset_path) / "features" / name / "features.safetensors"
    return file.is_file() and sha256_file(file) == manifest(dataset_path, name).get("features_sha256")


def load(dataset_path: Path, name: str) -> Features:
    """Read one modality. Raises ``FeatureError`` if it is absent, damaged, or made for other items."""
    from safetensors import SafetensorError, safe_open

    facts = manifest(dataset_path, name)
    file = Path(dataset_path) / "features" / name / "features.safetensors"
    ids = item_ids(dataset_path)
    if facts.get("item_ids_sha256") != ids_hash(ids):
        raise FeatureError(
            f"made for {facts.get('items')} other items than the dataset's {len(ids)}",
            where=file,
            remedy="extract or import them again",
        )
    try:
        with safe_open(str(file), framework="numpy") as arrays:
            vectors = arrays.get_tensor("vectors").astype(np.float32)
            present = arrays.get_tensor("present").astype(bool)
    except (OSError, KeyError, SafetensorError) as error:
        raise FeatureError(f"damaged ({error})", where=file, remedy="extract or import them again") from error
    if len(vectors) != len(ids) or present.shape != (len(ids),):
        raise FeatureError(f"{len(vectors)} rows for {len(ids)} items", where=file, remedy="extract them again")
    return Features(name, vectors, present, facts.get("provenance", {}))
