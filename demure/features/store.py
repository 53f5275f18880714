"""Features in a dataset folder: ``features/NAME/features.safetensors``, and ``features.json`` on what made it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from demure import __version__
from demure.errors import FeatureError
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
    from safetensors.numpy import save_file

    check_name(features.name)
    ids = item_ids(dataset_path)
    present = np.asarray(features.present, dtype=bool)
    vectors = np.array(features.vectors, dtype=np.float32)
    if vectors.ndim != 2 or not vectors.shape[1] or len(vectors) != len(ids) or present.shape != (len(ids),):
        raise FeatureError(
            f"features of shape {vectors.shape} with {present.size} marks for {len(ids)} items",
            where=features.name,
            remedy="give one row per item",
        )
    vectors[~present] = 0
    if not np.isfinite(vectors).all():
        raise FeatureError("a value is not finite", where=features.name, remedy="mark such rows as missing")
    with np.errstate(over="ignore"):
        half = vectors.astype(np.float16)
    stored = half if np.array_equal(half.astype(np.float32), vectors) else vectors
    folder = Path(dataset_path) / "features" / features.name
    with atomic_folder(folder, overwrite=True) as part:
        file = part / "features.safetensors"
        save_file({"vectors": np.ascontiguousarray(stored), "present": present.astype(np.uint8)}, str(file))
        for name, content in (texts or {}).items():
            (part / name).write_text(content, encoding="utf-8")
        manifest = {
            "format_version": FORMAT_VERSION,
            "demure_version": __version__,
            "name": features.name,
            "items": len(ids),
            "present": int(present.sum()),
            "missing": int((~present).sum()),
            "dim": vectors.shape[1],
            "dtype": str(stored.dtype),
            "item_ids_sha256": ids_hash(ids),
            "features_sha256": sha256_file(file),
            "provenance": features.provenance,
        }
        write_json(part / "features.json", manifest)
        shutil.copymode(part / "features.json", file)  # safetensors writes for the owner alone
    return folder


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
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

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
        arrays = load_file(str(file))
        vectors, present = arrays["vectors"].astype(np.float32), arrays["present"].astype(bool)
    except (OSError, KeyError, SafetensorError) as error:
        raise FeatureError(f"damaged ({error})", where=file, remedy="extract or import them again") from error
    if len(vectors) != len(ids) or present.shape != (len(ids),):
        raise FeatureError(f"{len(vectors)} rows for {len(ids)} items", where=file, remedy="extract them again")
    return Features(name, vectors, present, facts.get("provenance", {}))
