"""Raw files into a dataset folder: read, clean, filter, split, write; whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from demure.errors import DataError
from demure.files import atomic_folder, write_json
from demure.prepare.content_presence import without_modality
from demure.prepare.filters import filtered
from demure.prepare.images import locate_images
from demure.prepare.interactions import Interactions, clean, pick
from demure.prepare.items import Items, by_row, read_items
from demure.prepare.manifest import input_hashes, manifest
from demure.prepare.options import PrepareOptions, check
from demure.prepare.problems import Findings
from demure.prepare.reading.formats import read
from demure.prepare.reading.tables import Raw
from demure.prepare.report import PreparedReport
from demure.prepare.split import Part, split_by
from demure.prepare.write import write_tables
from demure.progress import Listener, Progress, silent

__all__ = ["PrepareOptions", "PreparedReport", "prepare"]

_STAGES = 5
Finish = Callable[[Path, PreparedReport], None]


def prepare(options: PrepareOptions, listener: Listener = silent, finish: Finish | None = None) -> PreparedReport:
    """Write the dataset folder ``options.out``; ``finish(folder, report)`` may add to it before it gets its name.

    With ``--split all`` the folder holds one dataset folder per split, with common features. Raises ``DataError`` for
    options and files that cannot be used, with the row where one row is the cause. Whatever is raised, nothing is left
    behind.
    """
    check(options)
    findings = Findings()
    listener(Progress("read", 0, _STAGES))
    raw, layout = read(options.interactions, options.format, findings, options.wanted())
    feature_files = options.features or (_beside(options.interactions, findings) if layout == "mmrec" else {})
    known = _items(options, raw, layout, feature_files, findings)
    files = raw.files
    listener(Progress("clean", 1, _STAGES, {"rows": raw.table.num_rows}))
    picked = pick(raw, options.rules(), findings)
    del raw
    pa.default_memory_pool().release_unused()
    them, steps = clean(picked, known, options.items, options.rules(), findings)
    del picked
    listener(Progress("filter", 2, _STAGES, {"rows": len(them)}))
    images_root, bare = None, None
    if options.bare_items == "drop":
        everything = known or Items(them.item_ids, np.full(len(them.item_ids), -1, np.int64), 0)
        known, images_root = locate_images(everything, options.images, options.items, findings)
        bare = without_modality(known, images_root, feature_files)
    items = filtered(them, known, bare, options, steps, findings)
    if bare is None:
        items, images_root = locate_images(items, options.images, options.items, findings)
    listener(Progress("split", 3, _STAGES, {"rows": len(them)}))
    parts = split_by(them, items.dates, options, findings)
    report = PreparedReport(
        options.out,
        layout,
        _counts(them, items, parts),
        steps,
        findings.problems,
        [
            *findings.notes,
            *(note if len(parts) == 1 else f"{part.name}: {note}" for part in parts for note in part.notes),
        ],
        items.rows,
        items.file_rows,
        feature_files,
        images_root,
        {part.name: part.leaks for part in parts},
        _folders(options.out, parts),
        written=not options.dry_run,
    )
    listener(Progress("write", 4, _STAGES, {"rows": len(them)}))
    if not options.dry_run:
        _write(options, them, items, parts, report, findings, files, finish)
    listener(Progress("write", _STAGES, _STAGES, {"rows": len(them)}))
    return report


def _write(
    options: PrepareOptions,
    them: Interactions,
    items: Items,
    parts: list[Part],
    report: PreparedReport,
    findings: Findings,
    files: list[Path],
    finish: Finish | None,
) -> None:
    inputs = input_hashes(options, files, report.feature_files)
    with atomic_folder(options.out, overwrite=options.overwrite) as whole:
        folders = [whole / path.relative_to(options.out) for path in report.folders.values()]
        if len(parts) > 1:
            (whole / "features").mkdir()
        for part, folder in zip(parts, folders, strict=True):
            if folder != whole:
                folder.mkdir()
                (folder / "features").symlink_to(Path("..") / "features")
            of_part = replace(them, split=part.codes)
            write_tables(folder, of_part, items)
            findings.write(folder / "problems.csv")
            notes = [*findings.notes, *part.notes]
            write_json(folder / "dataset.json", manifest(folder, options, report, part, of_part, items, inputs, notes))
        if len(parts) > 1:
            splits = {part.name: part.leaks.to_dict() for part in parts}
            write_json(whole / "splits.json", {"format_version": 1, "splits": splits})
        if finish is not None:
            finish(folders[0], report)


def _folders(out: Path, parts: list[Part]) -> dict[str, Path]:
    return {part.name: out if len(parts) == 1 else out / part.name for part in parts}


def _counts(them: Interactions, items: Items, parts: list[Part]) -> dict[str, int]:
    cold = len(items.ids) - int(np.count_nonzero(np.bincount(them.items)))
    users = len(them.user_ids)
    common = {"users": users, "items": len(items.ids), "cold_items": cold, "interactions": len(them)}
    if len(parts) > 1:
        return common
    leaks = parts[0].leaks
    return {**common, "train": leaks.train, "valid": leaks.valid, "test": leaks.test}


def _beside(path: Path, findings: Findings) -> dict[str, Path]:
    """MMRec: every NAME_feat.npy in the folder of the interactions."""
    found = {file.name.removesuffix("_feat.npy"): file for file in sorted(path.parent.glob("?*_feat.npy"))}
    if found:
        findings.note(f"features beside {path.name}: {', '.join(file.name for file in found.values())}")
    return found


def _items(
    options: PrepareOptions, raw: Raw, layout: str, feature_files: dict[str, Path], findings: Findings
) -> Items | None:
    """The items there are, or None where only the interactions tell; checks the matrices' numbers of rows."""
    matrices = {path: _npy_rows(path) for path in feature_files.values() if path.suffix.lower() == ".npy"}
    described = None if options.items is None else read_items(options.items, findings, options.wanted(items=True))
    if layout == "mmrec":
        rows = next(iter(matrices.values()), None) or _rows_by_ids(raw)
        items: Items | None = by_row(rows, described, options.items, findings)
    elif described is None and matrices:
        raise DataError(
            "row k is the k-th row of the items file, but there is none",
            where=next(iter(matrices)),
            remedy="give --items, or features as Parquet with columns item_id and vector",
        )
    else:
        items = described
    for path, rows in matrices.items():
        if items is not None and rows != items.file_rows:
            source = options.items if options.items is not None and layout != "mmrec" else "the other features"
            remedy = "row k must be item k: one row for every item, zeros for an item without it"
            raise DataError(f"has {rows} rows, {source} has {items.file_rows}", where=path, remedy=remedy)
    return items


def _npy_rows(path: Path) -> int:
    try:
        shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
    except (OSError, ValueError, EOFError) as error:
        remedy = "save it with numpy.save, as floats"
        raise DataError("cannot be read as a .npy matrix of numbers", where=path, remedy=remedy) from error
    if len(shape) != 2 or not shape[0]:
        raise DataError(f"has shape {shape}, not (items, dimensions)", where=path, remedy="give one row per item")
    return int(shape[0])


def _rows_by_ids(raw: Raw) -> int:
    """MMRec without features: as many items as the largest id tells."""
    column = next((name for name in raw.columns if name.lower() in ("itemid", "item_id")), None)
    ids = [] if column is None else [one for one in raw.table[column].unique().to_pylist() if one]
    numbers = [int(one) for one in ids if re.fullmatch(r"\d{1,9}", one)]
    if column is not None and not numbers:
        raise DataError("item ids are not row numbers", where=raw.path, remedy="use --format csv for other ids")
    return max(numbers, default=0) + 1
