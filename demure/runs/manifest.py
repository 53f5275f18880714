"""run.json, the manifest of a finished run: what it was made from, with what, and how good it is on validation."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from demure import __version__
from demure.data.manifest import MANIFEST as DATASET_MANIFEST
from demure.errors import DatasetError, DemureError, RunError
from demure.files import read_json, remedy_of, sha256_file, write_json
from demure.integrity import SEAL, CheckedFolder, check_seal, sealed
from demure.leftovers import bring_back
from demure.runs.folder import CHECKPOINT, FILES, MANIFEST
from demure.schema import SchemaError, build
from demure.storage.folders import local_folder
from demure.storage.names import is_url, local_name

FORMAT_VERSION = 1
_MOVABLE = ("dataset.path",)
_REMEDY = "train the run again"
_PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "pandas")


@dataclass(frozen=True)
class DatasetReference:
    """The dataset of a run: its absolute ``path`` or URL, and ``identity``: part (interactions, split, items) ->
    SHA-256."""

    path: str
    identity: dict[str, str] = field(default_factory=dict)


def read_environment() -> dict[str, str]:
    """Return the versions that decide a result: Python, platform, and the packages that compute."""
    return {
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        **{name: metadata.version(name) for name in _PACKAGES},
    }


@dataclass(frozen=True)
class RunManifest:
    """run.json of a run. Every key is optional when it is read; keys that are None are left out of the file.

    ``device``: cpu or cuda. ``ordered``: whether interactions have timestamps. ``epochs`` trained, ``best_epoch`` kept
    (0: before any step). ``valid``: metric -> value on the validation split. ``features``: modality -> the manifest of
    its features. ``causes``: cause -> mean share of the choices. ``placebo``: modality -> the fields of
    ``training.placebo.Placebo``. ``pool``: the fusion weights; ``walk``: the parameters of the item-item model;
    ``content_items``: those of the content-based one, if validation gives it a share. ``constant``: modality -> how its
    features are alike for all items, so that it was left out. ``denoise``: the ``run`` whose verdicts weighed the
    features, the SHA-256 of the weights, modality -> mean probability, and notes; None without.
    ``files``: name -> SHA-256 of the files of the run; None for a run of an early version. ``environment``: package ->
    version. ``extra``: further keys of the file.
    """

    recipe: str = ""
    model: str = ""
    seed: int = 0
    device: str = ""
    dataset: DatasetReference | None = None
    ordered: bool = False
    epochs: int = 0
    best_epoch: int = 0
    valid: dict[str, float] = field(default_factory=dict)
    modalities: list[str] = field(default_factory=list)
    features: dict[str, dict[str, Any]] | None = None
    causes: dict[str, float] | None = None
    placebo: dict[str, dict[str, Any]] | None = None
    pool: dict[str, float] | None = None
    walk: dict[str, float] | None = None
    content_items: dict[str, float] | None = None
    constant: dict[str, str] | None = None
    denoise: dict[str, Any] | None = None
    files: dict[str, str] | None = None
    environment: dict[str, str] = field(default_factory=read_environment)
    demure_version: str = __version__
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunManifest:
        """Return the manifest with the keys of run.json. Raises ``SchemaError`` for a value of another type."""
        names = {own.name for own in fields(cls)} - {"extra"}
        own = {"environment": {}, "demure_version": "", **{key: values[key] for key in values if key in names}}
        if values.get("dataset", {}) is None:
            raise SchemaError("dataset is null, not an object")
        manifest = build(cls, own, skip=("extra",))
        for name, features in (manifest.features or {}).items():
            if not isinstance(features.get("provenance") or {}, dict):
                raise SchemaError(f"features.{name}.provenance is {features['provenance']!r:.40}, not an object")
        extra = {key: values[key] for key in values if key not in names and key not in ("format_version", SEAL)}
        return replace(manifest, extra=extra)

    def to_dict(self) -> dict[str, Any]:
        """Return the keys of run.json, in the order of the file."""
        names = [own.name for own in fields(self) if own.name not in ("environment", "demure_version", "extra")]
        values = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.dataset is not None:
            values["dataset"] = {"path": self.dataset.path, "identity": self.dataset.identity}
        content = {
            "format_version": FORMAT_VERSION,
            "demure_version": self.demure_version,
            **values,
            "environment": self.environment,
            **self.extra,
        }
        return sealed(content, movable=_MOVABLE)

    def write(self, run: Path) -> None:
        """Write run.json into the run folder ``run``."""
        write_json(run / MANIFEST, self.to_dict())


def read_manifest(run: Path) -> RunManifest:
    """Read run.json of a finished run. Raises ``RunError`` if there is none, or one of another format."""
    path = run / MANIFEST
    if not path.is_file():
        bring_back(run)
    if not path.is_file():
        if (run / CHECKPOINT).is_file():
            raise RunError("the training has not finished", where=run, remedy="go on with `demure train ... --resume`")
        raise RunError("is not a run folder (no run.json)", where=run, remedy="make one with `demure train`")
    try:
        values = read_json(path)
    except DemureError as error:
        raise RunError(error.problem, where=path, remedy=remedy_of(error, _REMEDY)) from error
    if not isinstance(values, dict) or values.get("format_version") != FORMAT_VERSION:
        raise RunError("has another format version", where=path, remedy="train again with this demure")
    try:
        manifest = RunManifest.from_dict(values)
    except SchemaError as error:
        if str(error).startswith("dataset"):
            raise _no_dataset(run) from error
        raise RunError(f"lacks or misstates an entry ({error})", where=path, remedy=_REMEDY) from error
    check_seal(values, path, RunError, _REMEDY, _MOVABLE)
    return manifest


def hash_files(run: Path) -> dict[str, str]:
    """Return name -> SHA-256 of the files of a run whose training has just ended."""
    return {name: sha256_file(run / name) for name in FILES if (run / name).is_file()}


def run_files(run: Path, manifest: RunManifest) -> CheckedFolder:
    """Return the files of a run, to be read if they are as run.json records them."""
    return CheckedFolder(run, manifest.files, RunError, _REMEDY)


def manifest_files(run: Path) -> list[Path]:
    """Return the manifests of a run and of its dataset, whose hashes stand for all their files. Raises ``RunError``."""
    return [run / MANIFEST, dataset_folder(run, read_manifest(run)) / DATASET_MANIFEST]


def recorded_dataset(run: Path, manifest: RunManifest) -> DatasetReference:
    """Return the dataset that ``run`` was made from. Raises ``RunError`` if run.json does not name it."""
    if manifest.dataset is None:
        raise _no_dataset(run)
    return manifest.dataset


def dataset_folder(run: Path, manifest: RunManifest) -> Path:
    """Return the folder of the dataset that ``run`` was made from; one at a URL is fetched, once for the process.

    Raises ``RunError`` if run.json does not name it, ``StorageError`` if it cannot be fetched.
    """
    path = recorded_dataset(run, manifest).path
    if not is_url(path):
        return Path(path)
    return local_name(path) or local_folder(path)


def verify_dataset(run: Path, manifest: RunManifest, identity: Mapping[str, str], path: Path) -> None:
    """Check that the dataset at ``path`` with this ``identity`` is the one that ``run`` was made from.

    Raises ``DatasetError`` if it has changed.
    """
    changed = differing_parts(recorded_dataset(run, manifest).identity, identity)
    if changed:
        raise DatasetError(
            f"is not the dataset that {run} was made from ({', '.join(changed)} changed)",
            where=path,
            remedy="train again, or prepare the dataset as it was",
        )


def differing_parts(expected: Mapping[str, str], identity: Mapping[str, str]) -> list[str]:
    """Return the parts of a dataset's identity that are not as ``expected``."""
    return [part for part, value in expected.items() if identity.get(part) != value]


def _no_dataset(run: Path) -> RunError:
    return RunError("does not say what data it is of", where=run / MANIFEST, remedy="train again")
