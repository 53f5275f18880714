"""Features in other tools' files: ``.npy`` with ids, Parquet, MMRec's ``*_feat.npy`` by item number, Ducho's folders.

A reader gives vectors and what says whose they are; ``take`` puts them into a dataset, or says how many do not fit.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from demure.errors import FeatureError
from demure.features import store
from demure.features.importing import finite_rows, from_parquet, read_matrix
from demure.files import sha256_bytes, sha256_file

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("npy", "parquet", "mmrec", "ducho")
IDS = "item_ids.csv"
MAPPING = "i_id_mapping.csv"


@dataclass(frozen=True)
class Found:
    """``vectors`` (n, d) of the items ``ids`` (n,), in the order of ``source``; ``by``: what told whose they are."""

    ids: list[str]
    vectors: np.ndarray
    source: Path
    by: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Imported:
    """Result of `demure features import`, per modality. ``absent``: items that the files say nothing of; ``unknown``:
    rows of no item; ``by``: what told whose a row is."""

    name: str
    source: str
    by: str
    items: int
    present: int
    missing: int
    absent: int
    unknown: int
    dim: int
    folder: str


def import_files(
    dataset_path: Path,
    source: Path,
    name: str | None = None,
    format: str = "auto",
    ids: Path | None = None,
    *,
    partial: bool = False,
    overwrite: bool = False,
) -> list[Imported]:
    """Store ``source``, a file or a folder of ``format``, as modality ``name``; where none is given, all of an MMRec
    folder under their own names.

    ``ids`` are the items of the rows of a ``.npy`` file. Raises ``FeatureError`` where ids or numbers do not match,
    with the counts, unless ``partial``: then what fits is taken; for features that are there, unless ``overwrite``.
    """
    from demure.data.dataset import Dataset

    dataset = Dataset.load(Path(dataset_path))
    source = Path(source)
    if not source.exists():
        raise FeatureError("no such file or folder", where=source, remedy="give what is to be imported")
    kind = _recognised(source) if format == "auto" else format
    if kind not in FORMATS:
        raise FeatureError(f"unknown format {kind!r}", where="--format", remedy=f"use auto, {', '.join(FORMATS)}")
    items = dataset.items["item_id"].astype(str).tolist()
    files = _mmrec_files(source, name) if kind == "mmrec" else [(_named(name, source), source)]
    for modality, _ in files:
        store.check_name(modality)
        if modality in store.names(dataset.path) and not overwrite:
            raise FeatureError(
                f"there are features {modality!r}", where=dataset.path, remedy="say --overwrite, or NAME=FILE"
            )
    made = []
    for modality, file in files:
        if kind == "npy":
            found = _npy(file, items, ids)
        elif kind == "parquet":
            found = Found(*from_parquet(file), file, "column item_id")
        elif kind == "mmrec":
            found = _mmrec(file, items)
        else:
            found = _ducho(file, items, dataset.items)
        made.append(take(dataset.path, modality, items, found, partial=partial))
    return made


def take(dataset_path: Path, name: str, items: Sequence[str], found: Found, *, partial: bool) -> Imported:
    """Store what was found as modality ``name``. Raises ``FeatureError`` as ``import_files`` does."""
    row = {one: k for k, one in enumerate(found.ids)}
    if len(row) != len(found.ids):
        twice = next(one for k, one in enumerate(found.ids) if row[one] != k)
        raise FeatureError(f"item {twice!r} has two rows", where=found.source, remedy="give one row per item")
    here = np.array([row.get(one, -1) for one in items], dtype=np.int64)
    known = set(items)
    unknown, absent = sum(one not in known for one in found.ids), int((here < 0).sum())
    if absent == len(items) or (not partial and (unknown or absent)):
        raise FeatureError(
            f"{unknown:,} of its {len(found.ids):,} rows are of no item here, and {absent:,} of {len(items):,} items "
            f"have no row (told by {found.by})",
            where=found.source,
            remedy="check the ids" if absent == len(items) else "say --partial to take what fits",
        )
    raw = found.vectors[np.maximum(here, 0)]
    vectors, present = finite_rows(raw, found.source)
    present &= here >= 0
    facts = {
        "encoder": "import",
        "file": found.source.name,
        "by": found.by,
        "source_rows": len(found.ids),
        **found.facts,
    }
    if found.source.is_file():
        facts["sha256"] = sha256_file(found.source)
    facts |= {"source_dtype": str(found.vectors.dtype), "rows_of_unknown_items": unknown, "items_without_row": absent}
    folder = store.save(dataset_path, store.Features(name, vectors, present, facts))
    there = int(present.sum())
    return Imported(
        name=name,
        source=str(found.source),
        by=found.by,
        items=len(items),
        present=there,
        missing=len(items) - there,
        absent=absent,
        unknown=unknown,
        dim=vectors.shape[1],
        folder=str(folder),
    )


def _recognised(source: Path) -> str:
    if source.is_dir():
        return "mmrec" if any(source.glob("*_feat.npy")) else "ducho"
    return "parquet" if source.suffix.lower() in {".parquet", ".pq"} else "npy"


def _named(name: str | None, source: Path) -> str:
    if name is None:
        raise FeatureError("has no name for the modality", where=source, remedy="write NAME=FILE")
    return name


def read_ids(file: Path) -> list[str]:
    """Item ids from a text file with one per line, a CSV with a column ``item_id``, or a ``.npy`` array."""
    if not file.is_file():
        raise FeatureError("no such file", where=file, remedy="give the file of the item ids")
    if file.suffix.lower() == ".npy":
        try:
            array = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise FeatureError("cannot be read as an array of ids", where=file, remedy="save it as text") from error
        return [str(one) for one in array.ravel().tolist()]
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        raise FeatureError("cannot be read as text", where=file, remedy="give UTF-8") from error
    rows = list(csv.reader(text.splitlines(keepends=True)))
    if rows and "item_id" in rows[0]:
        place = rows[0].index("item_id")
        return [row[place] for row in rows[1:] if row]
    if rows and len(rows[0]) > 1:
        raise FeatureError(f"no column 'item_id' (there are: {', '.join(rows[0])})", where=file, remedy="name it so")
    return text.splitlines()


def _npy(file: Path, items: list[str], ids: Path | None) -> Found:
    matrix = read_matrix(file)
    beside = file.parent / IDS
    told = ids if ids is not None else beside if beside.is_file() else None
    if told is None:
        if len(matrix) != len(items):
            raise FeatureError(
                f"{len(matrix):,} rows for {len(items):,} items",
                where=file,
                remedy="say whose the rows are: --ids FILE",
            )
        return Found(items, matrix, file, "row k is item k")
    known = read_ids(told)
    if len(known) != len(matrix):
        raise FeatureError(f"{len(matrix):,} rows, and {len(known):,} ids in {told.name}", where=file)
    return Found(known, matrix, file, f"ids of {told.name}")


def _mmrec_files(source: Path, name: str | None) -> list[tuple[str, Path]]:
    if source.is_file():
        return [(name or source.stem.removesuffix("_feat"), source)]
    files = [(path.stem.removesuffix("_feat"), path) for path in sorted(source.glob("*_feat.npy"))]
    if not files:
        raise FeatureError("no *_feat.npy in it", where=source, remedy="give the folder of an MMRec dataset")
    if name is None:
        return files
    one = [(name, path) for modality, path in files if modality == name or len(files) == 1]
    if not one:
        have = ", ".join(modality for modality, _ in files)
        raise FeatureError(f"no {name}_feat.npy in it (there are: {have})", where=source)
    return one


def _mmrec(file: Path, items: list[str]) -> Found:
    """By MMRec's own numbers where its mapping is there; else by the items' ids where they are those numbers; else by
    place."""
    matrix = read_matrix(file)
    mapping = file.parent / MAPPING
    if mapping.is_file():
        with open(mapping, encoding="utf-8-sig", newline="") as handle:
            delimiter = "\t" if "\t" in handle.readline() else ","
            handle.seek(0)
            rows = list(csv.reader(handle, delimiter=delimiter))
        column = [one.lower() for one in rows[0]]
        if "itemid" not in column or len(column) != 2:
            raise FeatureError(f"has columns {', '.join(rows[0])}", where=mapping, remedy="two: an id, and itemID")
        number = column.index("itemid")
        numbered = {row[number]: row[1 - number] for row in rows[1:] if len(row) == 2}
        ids = [numbered.get(str(k)) for k in range(len(matrix))]
        if None in ids or len(numbered) != len(matrix):
            raise FeatureError(f"{len(matrix):,} rows, and {len(numbered):,} items in {mapping.name}", where=file)
        return Found([str(one) for one in ids], matrix, file, MAPPING)
    numbers = [str(k) for k in range(len(matrix))]
    if set(items) <= set(numbers):
        return Found(numbers, matrix, file, "row k is item k of MMRec")
    if len(matrix) != len(items):
        raise FeatureError(
            f"{len(matrix):,} rows for {len(items):,} items, whose ids are not MMRec's numbers",
            where=file,
            remedy=f"put {MAPPING} beside it",
        )
    return Found(items, matrix, file, "row k is item k here")


def _ducho(folder: Path, items: list[str], table: pd.DataFrame) -> Found:
    """Ducho writes OUT/BACKEND/MODEL/LAYER/NAME.npy, a vector (1, d) each; NAME is a row's id, or an image's file name
    up to its first dot."""
    if not folder.is_dir():
        raise FeatureError("is no folder", where=folder, remedy="give the folder of Ducho's .npy files")
    leaves = sorted({Path(where) for where, _, files in os.walk(folder) if any(one.endswith(".npy") for one in files)})
    if len(leaves) != 1:
        some = ", ".join(str(leaf.relative_to(folder)) for leaf in leaves[:4])
        raise FeatureError(
            f"{len(leaves)} folders with .npy files in it" + (f" ({some})" if some else ""),
            where=folder,
            remedy="give the one of one model and layer",
        )
    files = sorted(leaves[0].glob("*.npy"))
    vectors: list[np.ndarray] = []
    for file in files:
        vector = read_matrix(file, any_shape=True).reshape(-1)
        if vectors and len(vector) != len(vectors[0]):
            raise FeatureError(f"{len(vector)} values, others have {len(vectors[0])}", where=file)
        vectors.append(vector)
    names = [file.stem for file in files]
    if not set(names) & set(items) and "image" in table.columns:
        stems: dict[str, str] = {}
        for item, image in zip(items, table["image"], strict=True):
            if isinstance(image, str):
                stems.setdefault(Path(image).name.split(".")[0], item)
        if set(names) & set(stems):
            ids = [stems.get(name, f"file {name}") for name in names]
            return Found(ids, np.stack(vectors), leaves[0], "names of the image files", _hashed(files))
    return Found(names, np.stack(vectors), leaves[0], "names of the files", _hashed(files))


def _hashed(files: list[Path]) -> dict[str, Any]:
    return {"sha256": sha256_bytes(*(file.read_bytes() for file in files))}
