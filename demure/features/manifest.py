"""The manifest of stored features, ``features/NAME/features.json``: whose vectors they are, and what made them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demure.errors import FeatureError
from demure.files import read_json

FORMAT_VERSION = 1
MANIFEST = "features.json"


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
        return list((self.provenance.get("input") or {}).get("columns") or ())

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``features.json``."""
        return dataclasses.asdict(self)


def manifest_path(dataset_path: Path, name: str) -> Path:
    """Return where the manifest of modality ``name`` is."""
    return Path(dataset_path) / "features" / name / MANIFEST


def parse_manifest(path: Path) -> FeatureManifest:
    """Read one ``features.json``. Raises ``FeatureError`` if it is damaged or of another format version."""
    content = read_json(path)
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise FeatureError(
            f"format version {version}, this demure reads {FORMAT_VERSION}",
            where=path,
            remedy="run `demure extract --no-resume` again",
        )
    keys = [key.name for key in dataclasses.fields(FeatureManifest)]
    absent = [key for key in keys if key not in content and key != "provenance"]
    if absent:
        raise FeatureError(f"has no key {absent[0]!r}", where=path, remedy="run `demure extract --no-resume` again")
    return FeatureManifest(**{key: content[key] for key in keys if key in content})
