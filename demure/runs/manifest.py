"""run.json, the manifest of a finished run: what it was made from, with what, and how good it is on validation."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib import metadata
from pathlib import Path
from typing import Any

from demure import __version__
from demure.errors import DatasetError, RunError
from demure.files import read_json, write_json
from demure.runs.folder import CHECKPOINT, MANIFEST

FORMAT_VERSION = 1
_PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "pandas")


@dataclass(frozen=True)
class DatasetReference:
    """The dataset of a run: its absolute ``path``, and ``identity``: part (interactions, split, items) -> SHA-256."""

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
    ``content_items``: those of the content-based one, if validation gives it a share.
    ``environment``: package -> version. ``extra``: further keys of the file.
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
    environment: dict[str, str] = field(default_factory=read_environment)
    demure_version: str = __version__
    extra: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RunManifest:
        """Return the manifest with the keys of run.json. Raises ``TypeError`` or ``KeyError`` for a dataset of another
        form."""
        names = {own.name for own in fields(cls)} - {"extra"}
        own = {"environment": {}, "demure_version": ""} | {key: values[key] for key in values if key in names}
        if "dataset" in own:
            dataset = own["dataset"]
            own["dataset"] = DatasetReference(str(dataset["path"]), dict(dataset.get("identity") or {}))
        extra = {key: value for key, value in values.items() if key not in names and key != "format_version"}
        return cls(**own, extra=extra)

    def to_dict(self) -> dict[str, Any]:
        """Return the keys of run.json, in the order of the file."""
        names = [own.name for own in fields(self) if own.name not in ("environment", "demure_version", "extra")]
        values = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.dataset is not None:
            values["dataset"] = {"path": self.dataset.path, "identity": self.dataset.identity}
        return {
            "format_version": FORMAT_VERSION,
            "demure_version": self.demure_version,
            **values,
            "environment": self.environment,
            **self.extra,
        }

    def write(self, run: Path) -> None:
        """Write run.json into the run folder ``run``."""
        write_json(run / MANIFEST, self.to_dict())


def read_manifest(run: Path) -> RunManifest:
    """Read run.json of a finished run. Raises ``RunError`` if there is none, or one of another format."""
    path = run / MANIFEST
    if not path.is_file():
        if (run / CHECKPOINT).is_file():
            raise RunError("the training has not finished", where=run, remedy="go on with `demure train ... --resume`")
        raise RunError("is not a run folder (no run.json)", where=run, remedy="make one with `demure train`")
    values = read_json(path)
    if not isinstance(values, dict) or values.get("format_version") != FORMAT_VERSION:
        raise RunError("has another format version", where=path, remedy="train again with this demure")
    try:
        return RunManifest.from_dict(values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _no_dataset(run) from error


def recorded_dataset(run: Path, manifest: RunManifest) -> DatasetReference:
    """Return the dataset that ``run`` was made from. Raises ``RunError`` if run.json does not name it."""
    if manifest.dataset is None:
        raise _no_dataset(run)
    return manifest.dataset


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
