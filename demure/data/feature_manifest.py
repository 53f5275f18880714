"""Stored features, ``features/NAME/``: the manifest says whose vectors they are and what made them.

Shapes: I items, D dimensions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from demure.errors import DemureError, FeatureError
from demure.files import read_json, remedy_of
from demure.integrity import CheckedFolder, all_finite, check_seal, sealed
from demure.schema import SchemaError, build

FORMAT_VERSION = 1
MANIFEST = "features.json"
VECTORS = "features.safetensors"
_REMEDY = "extract or import them again"
_EXTRACT = "run `demure extract --no-resume` again"


@dataclass(frozen=True)
class FeatureManifest:
    """One modality as ``features.json`` records it; the fields are the keys of the file, in its order.

    Attributes:
        items: items of the dataset; ``present`` of them have a vector and ``missing`` have none.
        dim: length of a vector.
        dtype: ``"float16"`` or ``"float32"``, as stored.
        item_ids_sha256: hash of the item ids in their order: features belong to exactly these items.
        features_sha256: hash of ``features.safetensors``.
        provenance: what made the vectors. Its keys depend on the maker: an encoder's ``identity()``, or the facts of an
            imported file. The properties below read the keys that other modules need.
        files: hash of each other file of the folder.
    """

    format_version: int
    demure_version: str
    name: str
    items: int
    present: int
    missing: int
    dim: int
    dtype: str
    item_ids_sha256: str
    features_sha256: str
    provenance: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def encoder(self) -> str:
        """The encoder's name as ``--text`` or ``--image`` takes it; ``"import"`` for imported features."""
        return str(self.provenance.get("encoder"))

    @property
    def kind(self) -> str | None:
        """``"text"``, ``"image"`` or ``"attributes"``; None for imported features."""
        kind = self.provenance.get("kind")
        return None if kind is None else str(kind)

    @property
    def columns(self) -> list[str]:
        """The columns of the items that were encoded; empty for images and imported features."""
        source = self.provenance.get("input")
        columns = source.get("columns") if isinstance(source, dict) else None
        return [str(column) for column in columns] if isinstance(columns, list) else []

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``features.json``."""
        return sealed(dataclasses.asdict(self))


def manifest_path(dataset_path: Path, name: str) -> Path:
    """Return where the manifest of modality ``name`` is."""
    return Path(dataset_path) / "features" / name / MANIFEST


def parse_manifest(path: Path) -> FeatureManifest:
    """Read one ``features.json``. Raises ``FeatureError`` if it is damaged or of another format version."""
    try:
        content = read_json(path)
    except DemureError as error:
        raise FeatureError(error.problem, where=path, remedy=remedy_of(error, _EXTRACT)) from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise FeatureError(f"format version {version}, this demure reads {FORMAT_VERSION}", where=path, remedy=_EXTRACT)
    try:
        manifest = build(FeatureManifest, content)
    except SchemaError as error:
        raise FeatureError(f"lacks or misstates an entry ({error})", where=path, remedy=_EXTRACT) from error
    check_seal(content, path, FeatureError, _EXTRACT)
    return manifest


def feature_files(dataset_path: Path, name: str) -> CheckedFolder:
    """Return the files of modality ``name``, to be read if they are as features.json records them.

    Raises as :func:`parse_manifest`.
    """
    path = manifest_path(dataset_path, name)
    manifest = parse_manifest(path)
    hashes = {**manifest.files, VECTORS: manifest.features_sha256}
    return CheckedFolder(path.parent, hashes, FeatureError, _REMEDY)


def read_arrays(dataset_path: Path, name: str, only: Collection[str] = ("vectors", "present")) -> dict[str, np.ndarray]:
    """Return ``vectors`` (I, D) as stored, ``present`` (I,) bool and, where recorded, ``inputs`` (I, 16) of a modality.

    Raises ``FeatureError`` if the file was changed, or does not hold what features.json says: I items, ``dim``
    dimensions, finite numbers.
    """
    files = feature_files(dataset_path, name)
    manifest = parse_manifest(manifest_path(dataset_path, name))
    arrays: dict[str, np.ndarray] = files.tensors(VECTORS, only)
    shapes = {"vectors": (manifest.items, manifest.dim), "present": (manifest.items,), "inputs": (manifest.items, 16)}
    kinds = {"vectors": "f", "present": "bui", "inputs": "u"}
    for key in only:
        array = arrays.get(key)
        if array is None:
            if key == "inputs":  # imported features have none
                continue
            raise files.failed(VECTORS, f"no tensor {key!r}")
        if array.shape != shapes[key] or array.dtype.kind not in kinds[key] or not array.size:
            expected = f"not {shapes[key]} as features.json says"
            raise files.failed(VECTORS, f"{key} has shape {array.shape} and type {array.dtype}, {expected}")
    if "vectors" in arrays and not all_finite(arrays["vectors"]):
        raise files.failed(VECTORS, "a vector holds a value that is not finite")
    if "present" in arrays:
        if (arrays["present"] > 1).any() or int(arrays["present"].sum()) != manifest.present:
            raise files.failed(VECTORS, f"{manifest.present} items should have a vector")
        arrays["present"] = arrays["present"].astype(bool)
    return arrays
