"""Raw files into a dataset folder: read, clean, filter, split, write; whole or not at all."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from demure.data.manifest import PROBLEMS
from demure.errors import DataError, FeatureError
from demure.features import store
from demure.features.importing import read_array
from demure.files import atomic_folder, write_json
from demure.leftovers import folder_lock
from demure.locks import hold_folder
from demure.preparation.carry_over import carry_over, plan_features
from demure.preparation.cleaning import clean_interactions
from demure.preparation.content_presence import without_content
from demure.preparation.filters import apply_filters
from demure.preparation.images import locate_images, locate_media
from demure.preparation.interactions import Interactions, RawInteractions, read_interactions
from demure.preparation.item_columns import ItemIds
from demure.preparation.items import Items, items_by_row, read_items
from demure.preparation.manifest import build_manifest, hash_inputs
from demure.preparation.options import PrepareOptions, check_options
from demure.preparation.problems import Findings
from demure.preparation.reading.formats import read_raw
from demure.preparation.report import PreparedReport
from demure.preparation.split import PreparedSplit, make_splits
from demure.preparation.write import write_tables
from demure.progress import Listener, Notice, Progress, silent

__all__ = ["PrepareOptions", "PreparedReport", "prepare"]

_STAGES = 5
logger = logging.getLogger(__name__)
Finish = Callable[[Path, PreparedReport], None]


def prepare(options: PrepareOptions, listener: Listener = silent, finish: Finish | None = None) -> PreparedReport:
    """Write the dataset folder ``options.out``; ``finish(folder, report)`` may add to it before it gets its name.

    With ``--split all`` the folder has one dataset folder per split, with common features. Raises ``DataError`` for
    options and files that cannot be used, with the row where one row is the cause. After any error, nothing is left
    behind.
    """
    check_options(options)
    if options.dry_run:
        return _prepare(options, listener, finish)
    with hold_folder(folder_lock(options.out), options.out, "prepared"):
        return _prepare(options, listener, finish)


def _prepare(options: PrepareOptions, listener: Listener, finish: Finish | None) -> PreparedReport:
    findings = Findings()
    listener(Progress("read", 0, _STAGES))
    raw, format = read_raw(options.interactions, options.format, findings, options.selection())
    is_mmrec = format == "mmrec"
    feature_files = options.features or (_find_mmrec_features(options.interactions, findings) if is_mmrec else {})
    files, n_rows = raw.files, raw.table.num_rows
    logger.info("read %d rows of %s as %s", n_rows, options.interactions, format)
    raw_interactions = read_interactions(raw, options.rules(), findings)
    del raw  # here and below: so that each large table is freed before the next is made
    pa.default_memory_pool().release_unused()
    items = _read_items(options, raw_interactions, format, feature_files, findings)
    listener(Progress("clean", 1, _STAGES, {"rows": n_rows}))
    interactions, steps = clean_interactions(raw_interactions, items, options.items, options.rules(), findings)
    del raw_interactions
    listener(Progress("filter", 2, _STAGES, {"rows": len(interactions)}))
    images_root, media_roots, bare = None, dict[str, Path](), None
    if options.bare_items == "drop":
        items = items or Items.without_file(interactions.item_ids)
        items, images_root = locate_images(items, options.images, options.items, findings)
        items, media_roots = locate_media(items, options.media, options.items, findings)
        bare = without_content(items, images_root, media_roots, feature_files)
    catalogue = (items or Items.without_file(interactions.item_ids)).files()
    items = apply_filters(interactions, items, bare, options, steps, findings)
    if bare is None:
        items, images_root = locate_images(items, options.images, options.items, findings, catalogue)
        items, media_roots = locate_media(items, options.media, options.items, findings, catalogue)
    listener(Progress("split", 3, _STAGES, {"rows": len(interactions)}))
    splits = make_splits(interactions, items.dates, options, findings)
    report = PreparedReport(
        dataset=options.out,
        format=format,
        counts=_counts(interactions, items, splits),
        steps=steps,
        problems=findings.problems,
        notes=[
            *findings.notes,
            *(note if len(splits) == 1 else f"{split.name}: {note}" for split in splits for note in split.notes),
        ],
        item_rows=items.rows,
        item_file_rows=items.file_rows,
        feature_files=feature_files,
        images_root=images_root,
        media_roots=media_roots,
        splits={split.name: split.leaks for split in splits},
        folders={split.name: options.out if len(splits) == 1 else options.out / split.name for split in splits},
        written=not options.dry_run,
    )
    listener(Progress("write", 4, _STAGES, {"rows": len(interactions)}))
    if not options.dry_run:
        inputs = hash_inputs(options, files, report.feature_files)
        _write(options, interactions, items, splits, report, findings, inputs, finish, listener)
    listener(Progress("write", _STAGES, _STAGES, {"rows": len(interactions)}))
    counts = report.counts
    logger.info("prepared %s from %d rows", options.out, n_rows, extra={"dataset": str(options.out), "counts": counts})
    return report


def _write(
    options: PrepareOptions,
    interactions: Interactions,
    items: Items,
    splits: list[PreparedSplit],
    report: PreparedReport,
    findings: Findings,
    inputs: dict[str, dict[str, str]],
    finish: Finish | None,
    listener: Listener,
) -> None:
    lock = options.out / "features" / store.EXTRACTION_LOCK
    with (
        hold_folder(lock, options.out, "extracted"),
        atomic_folder(options.out, overwrite=options.overwrite) as out,
    ):
        folders = [out / path.relative_to(options.out) for path in report.folders.values()]
        if len(splits) > 1:
            (out / "features").mkdir()
        for split, folder in zip(splits, folders, strict=True):
            if folder != out:
                folder.mkdir()
                (folder / "features").symlink_to(Path("..") / "features")
            of_split = replace(interactions, split=split.codes)
            write_tables(folder, of_split, items)
            findings.write(folder / PROBLEMS)
            notes = [*findings.notes, *split.notes]
            build_manifest(folder, options, report, split, of_split, items, inputs, notes).write(folder)
        if len(splits) > 1:
            leaks = {split.name: split.leaks.to_dict() for split in splits}
            write_json(out / "splits.json", {"format_version": 1, "splits": leaks})
        carried = plan_features(options.out, folders[0], set(report.feature_files))
        carry_over(carried, options.out, out)
        report.notes.extend(carried.notes())
        for loss in carried.losses():  # before anything is deleted
            listener(Notice("write", 4, _STAGES, text=loss))
        if finish is not None:
            finish(folders[0], report)


def _counts(interactions: Interactions, items: Items, splits: list[PreparedSplit]) -> dict[str, int]:
    n_cold = len(items.ids) - int(np.count_nonzero(np.bincount(interactions.items)))
    counts = {
        "users": len(interactions.user_ids),
        "items": len(items.ids),
        "cold_items": n_cold,
        "interactions": len(interactions),
    }
    if len(splits) > 1:
        return counts
    leaks = splits[0].leaks
    return {**counts, "train": leaks.train, "valid": leaks.valid, "test": leaks.test}


def _find_mmrec_features(path: Path, findings: Findings) -> dict[str, Path]:
    """Return modality -> file of every NAME_feat.npy in the folder of MMRec's interactions."""
    files = {file.name.removesuffix("_feat.npy"): file for file in sorted(path.parent.glob("?*_feat.npy"))}
    if files:
        findings.note(f"features beside {path.name}: {', '.join(file.name for file in files.values())}")
    return files


def _read_items(
    options: PrepareOptions,
    interactions: RawInteractions,
    format: str,
    feature_files: dict[str, Path],
    findings: Findings,
) -> Items | None:
    """Return the items, or None if only the interactions name them; check the numbers of rows of the matrices."""
    matrix_rows = {path: _count_npy_rows(path) for path in feature_files.values() if path.suffix.lower() == ".npy"}
    described = None
    chosen = ItemIds(interactions.items.values, interactions.id_columns["item_id"])
    if options.items is not None:
        described = read_items(options.items, findings, options.selection(items=True), chosen)
    items = described
    if format == "mmrec":
        rows = next(iter(matrix_rows.values()), None) or _count_items_by_id(interactions)
        items = items_by_row(rows, described, options.items, findings)
    elif described is None and matrix_rows:
        raise DataError(
            "row k is the k-th row of the items file, but there is none",
            where=next(iter(matrix_rows)),
            remedy="give --items, or features as Parquet with columns item_id and vector",
        )
    for path, rows in matrix_rows.items():
        if items is not None and rows != items.file_rows:
            source = options.items if options.items is not None and format != "mmrec" else "the other features"
            remedy = "row k must be item k: one row for every item, zeros for an item without it"
            raise DataError(f"has {rows} rows, {source} has {items.file_rows}", where=path, remedy=remedy)
    return items


def _count_npy_rows(path: Path) -> int:
    try:
        shape = read_array(path, "a .npy matrix of numbers", "save it with numpy.save, as floats").shape
    except FeatureError as error:
        raise DataError(error.problem, where=path, remedy=error.remedy) from error
    if len(shape) != 2 or not shape[0]:
        raise DataError(f"has shape {shape}, not (items, dimensions)", where=path, remedy="give one row per item")
    return int(shape[0])


def _count_items_by_id(interactions: RawInteractions) -> int:
    """Return the number of items of MMRec's interactions without features: one more than the largest id."""
    ids = [item_id for item_id in interactions.items.values.to_pylist() if item_id]
    numbers = [int(item_id) for item_id in ids if re.fullmatch(r"\d{1,9}", item_id)]
    if not numbers:
        problem = "item ids are not row numbers"
        raise DataError(problem, where=interactions.path, remedy="use --format csv for other ids")
    return max(numbers) + 1
