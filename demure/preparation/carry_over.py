"""`prepare --overwrite` keeps the features of the folder that it replaces, as far as they fit the new items."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from demure.data.feature_manifest import FeatureManifest
from demure.data.manifest import DatasetManifest, read_manifest
from demure.errors import DemureError
from demure.features import store
from demure.images.files import HASH_CACHES

ITEMS = "items.parquet"


@dataclass
class CarriedFeatures:
    """Modalities of the earlier folder.

    ``kept`` fit the new items; ``reusable`` are of other items or texts, and `demure extract` takes from them what has
    not changed; ``dropped``: modality -> why it does not fit.
    """

    kept: list[str] = field(default_factory=list)
    reusable: list[str] = field(default_factory=list)
    dropped: dict[str, str] = field(default_factory=dict)

    def notes(self) -> list[str]:
        """Return what is kept, a sentence each."""
        notes = [f"features kept, as the items are the same: {', '.join(self.kept)}"] if self.kept else []
        if self.reusable:
            names = ", ".join(self.reusable)
            notes.append(f"features of the earlier items, from which extract takes what has not changed: {names}")
        return notes

    def losses(self) -> list[str]:
        """Return what is deleted, a sentence each."""
        return [f"features {name!r} are deleted: {reason}" for name, reason in self.dropped.items()]


def plan_features(earlier: Path, folder: Path, replaced: set[str]) -> CarriedFeatures:
    """Decide what happens to the features of the folder ``earlier`` when the dataset ``folder`` takes its place.

    ``replaced``: modalities that are imported anew.
    """
    carried = CarriedFeatures()
    manifest, ids = read_manifest(folder), store.item_ids(folder)
    ids_hash, same_content = store.ids_hash(ids), _same_content(earlier, manifest)
    shares_items = _shares_items(earlier, ids)
    for name in store.names(earlier):
        if name in replaced:
            continue
        try:
            features = store.read_manifest(earlier, name)
        except DemureError as error:
            carried.dropped[name] = error.problem
            continue
        is_imported = features.kind is None
        same_ids = features.item_ids_sha256 == ids_hash
        if same_ids and (is_imported or same_content):
            carried.kept.append(name)
        elif _is_reusable(features) and shares_items:
            carried.reusable.append(name)
        else:
            carried.dropped[name] = "they belong to other items" if not same_ids else "the items have changed"
    for path in sorted((earlier / "features").glob(f"{store.EARLIER}*")):  # of an overwrite before this one
        name = path.name.removeprefix(store.EARLIER)
        if name in replaced or name in (*carried.kept, *carried.reusable):
            continue
        if shares_items:
            carried.reusable.append(name)
        else:
            carried.dropped[name] = "they belong to other items"
    return carried


def carry_over(carried: CarriedFeatures, earlier: Path, folder: Path) -> None:
    """Link the features to keep from ``earlier`` into ``folder``; both stay whole if the process is killed."""
    source, target = Path(os.path.realpath(earlier / "features")), folder / "features"
    if not source.is_dir():
        return
    for path in sorted(source.iterdir()):
        name = path.name
        if name in carried.kept or name.startswith(".work-") or name in HASH_CACHES.values():
            _link(path, target / name)
    for name in carried.reusable:
        hidden = f"{store.EARLIER}{name}"
        _link(source / (name if (source / name).is_dir() else hidden), target / hidden)


def _is_reusable(features: FeatureManifest) -> bool:
    return features.kind is not None and "maker" in features.provenance


def _same_content(earlier: Path, manifest: DatasetManifest) -> bool:
    """Return whether ``earlier`` has the very table of items, and the same folders of files."""
    try:
        before = read_manifest(_a_dataset(earlier))
    except DemureError:
        return False
    same_folders = (before.images_root, before.media_roots) == (manifest.images_root, manifest.media_roots)
    return before.files.get(ITEMS) == manifest.files[ITEMS] and same_folders


def _shares_items(earlier: Path, ids: np.ndarray) -> bool:
    try:
        before = store.item_ids(_a_dataset(earlier))
    except DemureError:
        return False
    return not set(before).isdisjoint(ids)


def _a_dataset(folder: Path) -> Path:
    """Return ``folder``, or the first of its dataset folders if it holds several splits."""
    return next((file.parent for file in sorted(folder.glob(f"*/{ITEMS}"))), folder)


def _link(source: Path, target: Path) -> None:
    """Link the files of ``source``, or copy them where the file system has no links."""
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        for path in source.iterdir():
            if path.suffix != ".lock":
                _link(path, target / path.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
