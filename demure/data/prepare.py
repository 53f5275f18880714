"""Raw files into a dataset folder: read, clean, filter, split, write; whole or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import demure
from demure.data.dataset import FILES, FORMAT_VERSION
from demure.data.formats import FORMATS, check_choice, read
from demure.data.interactions import Interactions, Step, clean, step_after
from demure.data.items import Items, by_row, locate_images, read_items
from demure.data.kcore import k_core
from demure.data.problems import Findings, Problem
from demure.data.split import SPLIT_NAMES, SPLITS, by_time, leave_one_out, ratio
from demure.data.tables import Raw
from demure.data.write import identity, write_tables
from demure.errors import DataError
from demure.files import atomic_folder, refuse_existing, sha256_file, write_json
from demure.progress import Listener, Progress, silent

_STAGES = 5


@dataclass(frozen=True)
class PrepareOptions:
    """What ``demure prepare`` is told. ``features``: modality name -> ``.npy`` or Parquet file."""

    interactions: Path
    out: Path
    items: Path | None = None
    images: Path | None = None
    features: dict[str, Path] = field(default_factory=dict)
    split: str = "leave-one-out"
    k_core: int = 0
    format: str = "auto"
    seed: int = 0
    overwrite: bool = False


@dataclass(frozen=True)
class PreparedReport:
    """What was made, and what a reader should know about it.

    ``counts``: users, items, cold_items (without interactions), interactions, train, valid, test. ``steps``: cleaning
    and filtering in order. ``problems``: kind -> count, action, first rows. ``notes``: what was guessed or chosen.
    ``item_rows`` (I,) int64: each item's row, from 0, in the items file and the ``.npy`` matrices, which have
    ``item_file_rows`` rows; -1 without an items file. ``feature_files``: features to import, by modality.
    """

    dataset: Path
    format: str
    counts: dict[str, int]
    steps: list[Step]
    problems: dict[str, Problem]
    notes: list[str]
    item_rows: np.ndarray
    item_file_rows: int
    feature_files: dict[str, Path]

    def to_dict(self) -> dict[str, Any]:
        """As JSON; ``item_rows`` is left out."""
        return {
            "dataset": str(self.dataset),
            "format": self.format,
            "counts": self.counts,
            "steps": [vars(step) for step in self.steps],
            "problems": {kind: problem.to_dict() for kind, problem in self.problems.items()},
            "notes": self.notes,
            "features": {name: str(path) for name, path in self.feature_files.items()},
        }


Finish = Callable[[Path, PreparedReport], None]


def prepare(options: PrepareOptions, listener: Listener = silent, finish: Finish | None = None) -> PreparedReport:
    """Write the dataset folder ``options.out``; ``finish(folder, report)`` may add to it before it gets its name.

    Raises ``DataError`` for options and files that cannot be used, with the row where one row is the cause. Whatever
    is raised, nothing is left behind.
    """
    _check(options)
    findings = Findings()
    listener(Progress("read", 0, _STAGES))
    raw, layout = read(options.interactions, options.format, findings)
    feature_files = options.features or (_beside(options.interactions, findings) if layout == "mmrec" else {})
    known = _items(options, raw, layout, feature_files, findings)
    listener(Progress("clean", 1, _STAGES, {"rows": raw.table.num_rows}))
    them, steps = clean(raw, known, options.items, options.split, findings)
    del raw
    listener(Progress("filter", 2, _STAGES, {"rows": len(them.rows)}))
    them, items = _filtered(them, known, options.k_core, steps, findings)
    items, images_root = locate_images(items, options.images, options.items, findings)
    listener(Progress("split", 3, _STAGES, {"rows": len(them.rows)}))
    them = _split(them, options, findings)
    report = PreparedReport(
        options.out, layout, _counts(them, items), steps, findings.problems, findings.notes,
        items.rows, items.file_rows, feature_files,
    )  # fmt: skip
    listener(Progress("write", 4, _STAGES, {"rows": len(them.rows)}))
    with atomic_folder(options.out, overwrite=options.overwrite) as folder:
        write_tables(folder, them, items)
        findings.write(folder / "problems.csv")
        write_json(folder / "dataset.json", _manifest(folder, options, report, them, items, images_root))
        if finish is not None:
            finish(folder, report)
    listener(Progress("write", _STAGES, _STAGES, {"rows": len(them.rows)}))
    return report


def _check(options: PrepareOptions) -> None:
    """Refuse before anything is read what can be told from the options alone."""
    check_choice(options.format, FORMATS, "--format")
    check_choice(options.split, SPLITS, "--split")
    if options.k_core < 0:
        raise DataError(f"must be 0 or more, got {options.k_core}", where="--k-core", remedy="use 5, for example")
    if options.seed < 0:
        raise DataError(f"must be 0 or more, got {options.seed}", where="--seed", remedy="use 0, for example")
    refuse_existing(options.out, overwrite=options.overwrite)
    out = options.out.resolve()
    if options.out.is_dir() and any(out.iterdir()) and not (out / "dataset.json").is_file():
        remedy = "choose another --out"
        raise DataError("is not a dataset folder, so --overwrite does not replace it", where=options.out, remedy=remedy)
    inputs = [options.interactions, options.items, options.images, *options.features.values()]
    inside = next((path for path in inputs if path is not None and path.resolve().is_relative_to(out)), None)
    if inside is not None:
        raise DataError(f"--out would replace {inside}", where=options.out, remedy="choose another --out")
    for name, path in options.features.items():
        if not path.is_file():
            raise DataError("no such file", where=path, remedy=f"check --features {name}=FILE")


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
    described = None if options.items is None else read_items(options.items, findings)
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


def _filtered(
    them: Interactions, items: Items | None, k: int, steps: list[Step], findings: Findings
) -> tuple[Interactions, Items]:
    """The k-core, with codes anew: of the users that are left, and of the items that are left or never had anyone."""
    before = np.bincount(them.items, minlength=len(them.item_ids))
    if k > 0:
        kept = them.take(k_core(them.users, them.items, k))
        if not len(kept.rows):
            raise DataError(f"no interaction is in the {k}-core", where="--k-core", remedy=f"use less than {k}")
        steps.append(step_after(f"{k}-core", len(them.rows), kept))
        them = kept
    after = np.bincount(them.items, minlength=len(them.item_ids))
    item_kept = after > 0
    if items is not None:
        item_kept |= before == 0
        cold = int((before == 0).sum())
        if cold:
            findings.note(f"{cold} items without interactions are kept; they can be recommended")
    user_kept = np.bincount(them.users, minlength=len(them.user_ids)) > 0
    new_user, new_item = np.cumsum(user_kept) - 1, np.cumsum(item_kept) - 1
    chosen = np.flatnonzero(item_kept)
    alone = Items(them.item_ids, np.full(len(them.item_ids), -1, np.int64), 0)
    items = (alone if items is None else items).take(chosen)
    users = new_user[them.users]
    order = np.lexsort((users,) if them.times is None else (them.times, users))
    them = replace(them, user_ids=them.user_ids[user_kept], item_ids=items.ids, users=users, items=new_item[them.items])
    return them.take(order), items


def _split(them: Interactions, options: PrepareOptions, findings: Findings) -> Interactions:
    if options.split == "leave-one-out":
        split = leave_one_out(them.users)
    elif options.split == "ratio":
        split = ratio(them.users, timed=them.times is not None, seed=options.seed)
        how = "each user's last by time" if them.times is not None else f"drawn with seed {options.seed}"
        findings.note(f"--split ratio: 80/10/10 of each user's interactions, {how}; users with fewer than 3 all train")
    elif options.split == "time":
        assert them.times is not None
        split = by_time(them.times)
    else:
        assert them.split is not None
        split = them.split
    if options.split == "leave-one-out":
        few = int((np.bincount(them.users) < 3).sum())
        if few:
            findings.note(f"{few} users with fewer than 3 interactions are all train")
    sizes = np.bincount(split, minlength=3)
    if not sizes[0]:
        remedy = "use --split ratio" if options.split == "time" else "give some interactions to train"
        raise DataError("nothing is left to train on", where=f"--split {options.split}", remedy=remedy)
    for name, size in zip(SPLIT_NAMES, sizes, strict=True):
        if not size:
            findings.note(f"--split {options.split}: the part {name} is empty")
    return replace(them, split=split)


def _counts(them: Interactions, items: Items) -> dict[str, int]:
    assert them.split is not None
    sizes = np.bincount(them.split, minlength=3)
    cold = len(items.ids) - len(np.unique(them.items))
    parts = {name: int(size) for name, size in zip(SPLIT_NAMES, sizes, strict=True)}
    users = len(them.user_ids)
    return {"users": users, "items": len(items.ids), "cold_items": cold, "interactions": len(them.rows), **parts}


def _manifest(
    folder: Path, options: PrepareOptions, report: PreparedReport, them: Interactions, items: Items, root: Path | None
) -> dict[str, Any]:
    inputs = {"interactions": options.interactions, "items": options.items}
    inputs |= {f"features {name}": path for name, path in report.feature_files.items()}
    told = report.to_dict()
    return {
        "format_version": FORMAT_VERSION,
        "demure_version": demure.__version__,
        "created_by": {
            "command": "prepare",
            "interactions": str(options.interactions),
            "items": None if options.items is None else str(options.items),
            "images": None if options.images is None else str(options.images),
            "features": {name: str(path) for name, path in report.feature_files.items()},
            "format": report.format,
            "split": options.split,
            "k_core": options.k_core,
            "seed": options.seed,
        },
        "inputs": {
            role: {"path": str(path), "sha256": sha256_file(path)} for role, path in inputs.items() if path is not None
        },
        "counts": report.counts,
        "has_time": them.times is not None,
        "text_columns": [name for name in items.columns if name != "image"],
        "images_root": None if root is None else str(root),
        "hashes": identity(them, items),
        "files": {name: sha256_file(folder / name) for name in FILES},
        "steps": told["steps"],
        "problems": told["problems"],
        "notes": report.notes,
    }
