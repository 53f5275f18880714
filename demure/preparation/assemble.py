"""The report of ``demure prepare``, and the dataset folder that it writes: whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from demure.data.manifest import PROBLEMS
from demure.errors import MachineError
from demure.features import store
from demure.files import atomic_folder, write_json
from demure.locks import hold_folder
from demure.preparation.carry_over import carry_over, plan_features
from demure.preparation.images import locate_images, locate_media
from demure.preparation.items import Items
from demure.preparation.manifest import build_manifest, hash_inputs
from demure.preparation.options import PrepareOptions
from demure.preparation.problems import Findings
from demure.preparation.report import PreparedReport
from demure.preparation.split import PreparedSplit
from demure.preparation.steps import CleaningStep
from demure.preparation.write import items_identity, write_items
from demure.progress import Listener, Notice

STAGES = 5
Finish = Callable[[Path, PreparedReport], None]
WriteTables = Callable[[Sequence[tuple[Path, PreparedSplit]]], Iterable[dict[str, str]]]


class DatasetSizes(NamedTuple):
    """The numbers of a dataset; ``cold_items`` have no interactions."""

    users: int
    items: int
    cold_items: int
    interactions: int


class FileRoots(NamedTuple):
    """The folders that the names of images, and of other kinds of files, are relative to."""

    images: Path | None = None
    media: Mapping[str, Path] = MappingProxyType({})


def locate_files(
    items: Items, options: PrepareOptions, findings: Findings, catalogue: Items | None = None
) -> tuple[Items, FileRoots]:
    """Return the items with the names of their files; ``catalogue`` as of ``locate_images``."""
    items, images = locate_images(items, options.images, options.items, findings, catalogue)
    items, media = locate_media(items, options.media, options.items, findings, catalogue)
    return items, FileRoots(images, media)


@dataclass(frozen=True)
class ReadLog:
    """The log that was read: its format, its files where these are not the one of the options, and the features."""

    format: str
    files: list[Path]
    feature_files: dict[str, Path]


def make_report(
    options: PrepareOptions,
    log: ReadLog,
    sizes: DatasetSizes,
    items: Items,
    splits: list[PreparedSplit],
    steps: list[CleaningStep],
    findings: Findings,
    roots: FileRoots,
) -> PreparedReport:
    """Return the report of a dataset that is about to be written."""
    counts = sizes._asdict()
    if len(splits) == 1:
        leaks = splits[0].leaks
        counts |= {"train": leaks.train, "valid": leaks.valid, "test": leaks.test}
    return PreparedReport(
        dataset=options.out,
        format=log.format,
        counts=counts,
        steps=steps,
        problems=findings.problems,
        notes=[
            *findings.notes,
            *(note if len(splits) == 1 else f"{split.name}: {note}" for split in splits for note in split.notes),
        ],
        item_rows=items.rows,
        item_file_rows=items.file_rows,
        feature_files=log.feature_files,
        images_root=roots.images,
        media_roots=dict(roots.media),
        splits={split.name: split.leaks for split in splits},
        folders={split.name: options.out if len(splits) == 1 else options.out / split.name for split in splits},
        written=not options.dry_run,
    )


def write_dataset(
    options: PrepareOptions,
    log: ReadLog,
    items: Items,
    splits: list[PreparedSplit],
    report: PreparedReport,
    findings: Findings,
    write_tables: WriteTables,
    finish: Finish | None,
    listener: Listener,
) -> None:
    """Write the dataset folder, or one for each of several splits.

    ``write_tables`` writes the tables of each folder and its split, and returns the hashes of their content.
    """
    inputs = hash_inputs(options, log.files, log.feature_files)
    lock = options.out / "features" / store.EXTRACTION_LOCK
    with (
        hold_folder(lock, options.out, "extracted"),
        atomic_folder(options.out, overwrite=options.overwrite) as out,
    ):
        folders = [out / path.relative_to(options.out) for path in report.folders.values()]
        if len(splits) > 1:
            (out / "features").mkdir()
        for folder in folders:
            if folder != out:
                folder.mkdir()
                _link_features(folder)
        written = write_tables(list(zip(folders, splits, strict=True)))
        for split, folder, of_interactions in zip(splits, folders, written, strict=True):
            write_items(folder, items)
            hashes = of_interactions | items_identity(items)
            findings.write(folder / PROBLEMS)
            notes = [*findings.notes, *split.notes]
            build_manifest(folder, options, report, split, items, hashes, inputs, notes).write(folder)
        if len(splits) > 1:
            leaks = {split.name: split.leaks.to_dict() for split in splits}
            write_json(out / "splits.json", {"format_version": 1, "splits": leaks})
        carried = plan_features(options.out, folders[0], set(report.feature_files))
        carry_over(carried, options.out, out)
        report.notes.extend(carried.notes())
        for loss in carried.losses():  # before anything is deleted
            listener(Notice("write", 4, STAGES, text=loss))
        if finish is not None:
            finish(folders[0], report)


def _link_features(folder: Path) -> None:
    """Let the dataset folder of one split have the features of all."""
    try:
        (folder / "features").symlink_to(Path("..") / "features")
    except OSError as error:
        problem = f"cannot link the features of the splits: {error.strerror or error}"
        remedy = "prepare one --split at a time, or turn on the developer mode of Windows, which allows links"
        raise MachineError(problem, where=folder.name, remedy=remedy) from error
