"""The manifest of a dataset folder, ``dataset.json``: its content, what made it, and the hashes that identify it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from demure.data.leakage import LeakCounts
from demure.errors import DatasetError, DemureError
from demure.files import read_json, remedy_of, write_json
from demure.integrity import CheckedFolder, check_seal, sealed
from demure.leftovers import bring_back
from demure.schema import SchemaError, build

FORMAT_VERSION = 1
MANIFEST = "dataset.json"
TABLES = ("interactions.parquet", "users.parquet", "items.parquet")
PROBLEMS = "problems.csv"
_MOVABLE = ("images_root", "media_roots")
_REMEDY = "prepare it again"


@dataclass(frozen=True)
class DatasetCounts:
    """Numbers of users, items and interactions. ``cold_items`` have no interaction in any split."""

    users: int
    items: int
    cold_items: int
    interactions: int
    train: int
    valid: int
    test: int

    def to_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class DatasetManifest:
    """What ``dataset.json`` records; the fields are the keys of the file, in its order.

    Attributes:
        created_by: the command and its options, as resolved.
        inputs: path and SHA-256 of each input file, by role.
        leaks: counts of the split's leakage; None in folders of early versions.
        has_time: whether interactions have timestamps.
        text_columns: the columns of the items that are part of an item's text.
        attribute_columns: the other columns of the items, of numbers and codes.
        images_root: the folder, or its URL, that the column ``image`` is relative to; None without images.
        media_roots: kind of content, audio or video -> the folder, or its URL, that the column of that name is relative
            to.
        hashes: SHA-256 of the interactions, the split and the items: a run records and compares them.
        files: SHA-256 of each of ``TABLES`` and of problems.csv.
        steps: cleaning and filtering in order, as ``demure.preparation.cleaning.CleaningStep`` has them.
        problems: count, action and first rows of each kind of problem in the input.
        notes: guesses and choices that were made, a sentence each.
    """

    format_version: int
    demure_version: str
    created_by: dict[str, Any]
    inputs: dict[str, dict[str, str]]
    counts: DatasetCounts
    leaks: LeakCounts | None
    has_time: bool
    text_columns: list[str]
    attribute_columns: list[str]
    images_root: str | None
    hashes: dict[str, str]
    files: dict[str, str]
    steps: list[dict[str, Any]] = field(default_factory=list)
    problems: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    media_roots: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the content of ``dataset.json``."""
        return sealed(dataclasses.asdict(self), movable=_MOVABLE)

    def write(self, folder: Path) -> None:
        """Write ``dataset.json`` into a dataset folder."""
        write_json(folder / MANIFEST, self.to_dict())


def read_manifest(folder: Path) -> DatasetManifest:
    """Read the manifest of a dataset folder.

    Raises ``DatasetError`` if ``folder`` is not a dataset folder, is of another format version, or if its manifest is
    damaged.
    """
    if not folder.exists():
        bring_back(folder)
    if not (folder / MANIFEST).is_file():
        raise DatasetError(
            f"is not a dataset folder (no {MANIFEST})", where=folder, remedy="make one with `demure prepare`"
        )
    try:
        content = read_json(folder / MANIFEST)
    except DemureError as error:
        raise DatasetError(error.problem, where=error.where, remedy=remedy_of(error, _REMEDY)) from error
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise DatasetError(f"has format version {version!r}, not {FORMAT_VERSION}", where=folder, remedy=_REMEDY)
    # Folders of early versions have neither leaks nor attributes; unknown keys are those of later versions.
    values = {"leaks": None, "attribute_columns": [], **content}
    try:
        manifest = build(DatasetManifest, values)
    except SchemaError as error:
        raise DatasetError(f"lacks or misstates an entry ({error})", where=folder / MANIFEST, remedy=_REMEDY) from error
    check_seal(content, folder / MANIFEST, DatasetError, _REMEDY, _MOVABLE)
    return manifest


def dataset_files(folder: Path, manifest: DatasetManifest | None = None) -> CheckedFolder:
    """Return the tables of a dataset folder, to be read if they are as the manifest records them.

    Raises as :func:`read_manifest`.
    """
    manifest = manifest or read_manifest(folder)
    return CheckedFolder(folder, manifest.files, DatasetError, _REMEDY)
