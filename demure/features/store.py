"""Features in a dataset folder: vectors in ``features/NAME/features.safetensors``, their manifest in ``features.json``.

The last step of an extraction (extract -> inputs -> workers -> encoding -> shards -> assemble -> store), and the first
step of everything that reads vectors.

Shapes: I items, D dimensions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from demure import __version__
from demure.data.feature_manifest import (
    FORMAT_VERSION,
    MANIFEST,
    VECTORS,
    FeatureManifest,
    feature_files,
    manifest_path,
    parse_manifest,
    read_arrays,
)
from demure.data.manifest import MANIFEST as DATASET_MANIFEST
from demure.data.manifest import dataset_files
from demure.errors import DemureError, FeatureError
from demure.features import rows
from demure.files import atomic_folder, sha256_bytes, sha256_file, write_json
from demure.integrity import CheckedFolder

RESERVED = {"none", "history"}
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # of Windows, whatever the suffix
EARLIER = ".earlier-"  # before the name: features of earlier items, which only `demure extract` reads
EXTRACTION_LOCK = ".extraction.lock"


@dataclass(frozen=True)
class Features:
    """One modality: ``vectors`` (I, D) float32, zero where missing; ``present`` (I,) bool; row k belongs to item k."""

    name: str
    vectors: np.ndarray
    present: np.ndarray
    provenance: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FeatureHeader:
    """What must be clear about features before their vectors are written in blocks.

    ``present`` (I,) bool; ``dim`` is D; ``half`` stores float16; ``inputs`` (I, 16) uint8 is a hash of the input that
    each item's vector was made of, zero where the item has none.
    """

    name: str
    present: np.ndarray
    dim: int
    half: bool
    inputs: np.ndarray | None = None


def check_name(name: str) -> None:
    """Raise ``FeatureError`` for a modality name that cannot be a folder or means something else in results."""
    if _DEVICES.fullmatch(name) or name.endswith("."):
        problem = f"{name!r} cannot name a modality: Windows has no folder of that name"
        raise FeatureError(problem, where="features", remedy="use another name")
    if name in RESERVED or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name):
        raise FeatureError(
            f"{name!r} cannot name a modality",
            where="features",
            remedy=f"use letters, digits, - and _, but not {' or '.join(sorted(RESERVED))}",
        )


def check_spellings(dataset_path: Path, new: Iterable[str]) -> None:
    """Raise ``FeatureError`` if two modalities, of ``new`` and of the dataset folder, differ in upper case alone.

    On most disks of Windows and macOS, both would be one folder.
    """
    spelled: dict[str, str] = {}
    for name in [*names(dataset_path), *new]:
        other = spelled.setdefault(name.casefold(), name)
        if other != name:
            problem = f"{other!r} and {name!r} would be one folder on disks that ignore upper case"
            raise FeatureError(problem, where=dataset_path, remedy=f"use another name than {name!r}")


def names(dataset_path: Path) -> list[str]:
    """Return the modalities of a dataset folder, sorted. Raises ``FeatureError`` for vectors without a manifest."""
    root = Path(dataset_path) / "features"
    if not root.is_dir():
        return []
    folders = sorted(p for p in root.iterdir() if not p.name.startswith("."))
    for folder in folders:
        if (folder / VECTORS).is_file() and not (folder / MANIFEST).is_file():
            remedy = "delete the folder, and extract or import these features again"
            raise FeatureError(f"has vectors but no {MANIFEST}", where=folder, remedy=remedy)
    return [folder.name for folder in folders if (folder / MANIFEST).is_file()]


def item_ids(dataset_path: Path) -> np.ndarray:
    """Return the item ids, (I,) str, of the dataset folder's ``items.parquet``."""
    path, remedy = Path(dataset_path), "give a prepared dataset folder"
    if (path / DATASET_MANIFEST).is_file():
        files = dataset_files(path)
    else:  # a folder in the making
        files = CheckedFolder(path, None, FeatureError, remedy)
    try:
        ids = files.table("items.parquet", ["item_id"]).column("item_id").to_pylist()
    except DemureError as error:
        raise FeatureError(f"the items cannot be used: {error}", remedy=remedy) from error
    return np.array([str(item_id) for item_id in ids], dtype=object)


def ids_hash(ids: Iterable[str]) -> str:
    """Return the hex digest of the item ids in their order."""
    return sha256_bytes(*(str(item_id).encode() for item_id in ids))


def save(dataset_path: Path, features: Features, extra_files: Mapping[str, str] | None = None) -> Path:
    """Write ``features/NAME/`` whole or not at all, replacing an earlier one; return the folder.

    ``extra_files`` are further text files of the folder, name -> content. Vectors that float16 holds exactly are stored
    as float16. Raises ``FeatureError`` if the rows are not the dataset's items or a value is not finite.
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
    header = FeatureHeader(features.name, present, vectors.shape[1], half=fits_float16(vectors))
    return save_blocks(dataset_path, header, [(np.arange(len(vectors)), vectors)], features.provenance, extra_files)


def fits_float16(vectors: np.ndarray) -> bool:
    """Return whether float16 holds every value exactly."""
    with np.errstate(over="ignore"):
        return bool(np.array_equal(vectors.astype(np.float16).astype(np.float32), vectors))


def save_blocks(
    dataset_path: Path,
    header: FeatureHeader,
    blocks: Iterable[tuple[np.ndarray, np.ndarray]],
    provenance: dict[str, Any],
    extra_files: Mapping[str, str] | None = None,
) -> Path:
    """Write ``features/NAME/`` as ``save`` does, from blocks of rows, so that all vectors need not fit in memory.

    ``blocks`` are pairs of item numbers (n,) and their vectors (n, D); an item in no block is zero. Raises
    ``FeatureError`` if the rows are not the dataset's items.
    """
    check_name(header.name)
    check_spellings(dataset_path, [header.name])
    ids = item_ids(dataset_path)
    if header.present.shape != (len(ids),):
        raise FeatureError(
            f"{header.present.size} rows for {len(ids)} items", where=header.name, remedy="give one row per item"
        )
    others = {"present": header.present.astype(np.uint8), "item_ids": _as_bytes(ids)}
    if header.inputs is not None:
        others["inputs"] = np.where(header.present[:, None], header.inputs, np.uint8(0))
    dtype = np.dtype(np.float16 if header.half else np.float32)
    folder = Path(dataset_path) / "features" / header.name
    with atomic_folder(folder, overwrite=True) as part:
        file = part / VECTORS
        rows.write_rows(file, "vectors", (len(ids), header.dim), dtype, blocks, others)
        for name, content in (extra_files or {}).items():
            (part / name).write_text(content, encoding="utf-8")
        extra_hashes = {name: sha256_file(part / name) for name in extra_files or {}}
        present = int(header.present.sum())
        manifest = FeatureManifest(
            format_version=FORMAT_VERSION,
            demure_version=__version__,
            name=header.name,
            items=len(ids),
            present=present,
            missing=len(ids) - present,
            dim=header.dim,
            dtype=str(dtype),
            item_ids_sha256=ids_hash(ids),
            features_sha256=sha256_file(file),
            provenance=provenance,
            files=extra_hashes,
        )
        write_json(part / MANIFEST, manifest.to_dict())
    return folder


def _as_bytes(ids: Iterable[str]) -> np.ndarray:
    """Return the ids as one JSON array in UTF-8: safetensors holds no text."""
    return np.frombuffer(json.dumps([str(item_id) for item_id in ids], ensure_ascii=False).encode(), dtype=np.uint8)


def read_manifest(dataset_path: Path, name: str) -> FeatureManifest:
    """Read ``features/NAME/features.json``. Raises ``FeatureError`` if it is absent, damaged or of another version."""
    path = manifest_path(dataset_path, name)
    if not path.is_file():
        available = ", ".join(names(dataset_path)) or "none"
        raise FeatureError(
            f"no features {name!r} (there are: {available})", where=dataset_path, remedy="run `demure extract` first"
        )
    return parse_manifest(path)


def intact(dataset_path: Path, name: str) -> bool:
    """Return whether the stored vectors are the bytes whose hash is in the manifest."""
    files = feature_files(dataset_path, name)
    try:
        files.file(VECTORS)
    except FeatureError:
        return False
    return True


def load(dataset_path: Path, name: str) -> Features:
    """Read one modality. Raises ``FeatureError`` if it is absent, changed, damaged, or made for other items."""
    manifest = read_manifest(dataset_path, name)
    file = Path(dataset_path) / "features" / name / VECTORS
    ids = item_ids(dataset_path)
    if manifest.item_ids_sha256 != ids_hash(ids):
        raise FeatureError(
            f"made for {manifest.items} other items than the dataset's {len(ids)}",
            where=file,
            remedy="extract or import them again",
        )
    if manifest.items != len(ids):
        raise FeatureError(f"{manifest.items} rows for {len(ids)} items", where=file, remedy="extract them again")
    arrays = read_arrays(dataset_path, name)
    return Features(name, arrays["vectors"].astype(np.float32), arrays["present"], manifest.provenance)
