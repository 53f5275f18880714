"""Import features from other tools: ``.npy`` with ids, Parquet, MMRec's ``*_feat.npy`` by item number, Ducho's folders.

A reader returns vectors with the id of the item of each; ``store_vectors`` matches the ids with a dataset's items and
refuses vectors that do not match.
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
from demure.features.importing import ForeignRows, match_rows, read_array, read_matrix, read_parquet, store_rows
from demure.files import sha256_bytes, sha256_file

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("npy", "parquet", "mmrec", "ducho")
IDS = "item_ids.csv"
MAPPING = "i_id_mapping.csv"


@dataclass(frozen=True)
class ForeignVectors:
    """Vectors (n, D) of the items ``ids`` (n,), in the order of the file or folder ``source``.

    ``by`` names the evidence for whose vectors they are; ``facts`` go into the manifest.
    """

    ids: list[str]
    vectors: np.ndarray
    source: Path
    by: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ImportedFeatures:
    """Result of `demure features import` for one modality.

    ``absent`` items have no row in the files; ``unknown`` rows belong to no item; ``by`` names the evidence for whose
    vector a row is.
    """

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
) -> list[ImportedFeatures]:
    """Store a file or folder as features of a dataset.

    Args:
        dataset_path: the dataset folder.
        source: the file or folder.
        name: the modality. An MMRec folder needs none: all its modalities are stored under their own names.
        format: one of ``FORMATS``, or ``"auto"``.
        ids: file with the item id of each row of a ``.npy`` file; without it, row k is item k where the dataset has an
            order of its own (see ``check_order``).
        partial: store the rows whose items are in the dataset, rather than refuse the file.
        overwrite: replace features of the same name.

    Raises ``FeatureError`` if ids or numbers of rows do not match, with the counts, or if the features exist.
    """
    from demure.data.dataset import Dataset

    dataset = Dataset.load(Path(dataset_path))
    source = Path(source)
    if not source.exists():
        raise FeatureError("no such file or folder", where=source, remedy="give the file or folder to import")
    kind = _detect_format(source, ids) if format == "auto" else format
    if kind not in FORMATS:
        raise FeatureError(f"unknown format {kind!r}", where="--format", remedy=f"use auto, {', '.join(FORMATS)}")
    items = dataset.items["item_id"].astype(str).tolist()
    ordered = "items" in dataset.manifest.inputs
    files = _mmrec_files(source, name) if kind == "mmrec" else [(_require_name(name, source), source)]
    for modality, _ in files:
        store.check_name(modality)
        if modality in store.names(dataset.path) and not overwrite:
            raise FeatureError(
                f"there are features {modality!r}", where=dataset.path, remedy="say --overwrite, or NAME=FILE"
            )
    if ids is not None and kind != "npy":
        raise FeatureError(f"is for one .npy file, not for {kind}", where="--ids", remedy="import one file at a time")
    imported = []
    for modality, file in files:
        if kind == "npy":
            foreign = _read_npy(file, items, ids, ordered=ordered)
        elif kind == "parquet":
            foreign = ForeignVectors(*read_parquet(file), file, "column item_id")
        elif kind == "mmrec":
            foreign = _read_mmrec(file, items, ordered=ordered)
        else:
            foreign = _read_ducho(file, items, dataset.items)
        imported.append(store_vectors(dataset.path, modality, items, foreign, partial=partial))
    return imported


def store_vectors(
    dataset_path: Path, name: str, items: Sequence[str], foreign: ForeignVectors, *, partial: bool
) -> ImportedFeatures:
    """Match ``foreign`` vectors with the dataset's ``items`` (ids) and store them as modality ``name``.

    Raises ``FeatureError`` as ``import_files`` does.
    """
    row = {item_id: k for k, item_id in enumerate(foreign.ids)}
    if len(row) != len(foreign.ids):
        repeated = next(item_id for k, item_id in enumerate(foreign.ids) if row[item_id] != k)
        raise FeatureError(f"item {repeated!r} has two rows", where=foreign.source, remedy="give one row per item")
    rows = match_rows(items, foreign.ids)
    dataset_ids = set(items)
    unknown, absent = sum(item_id not in dataset_ids for item_id in foreign.ids), int((rows < 0).sum())
    if absent == len(items) or (not partial and (unknown or absent)):
        raise FeatureError(
            f"{unknown:,} of its {len(foreign.ids):,} rows are of no item here, and {absent:,} of {len(items):,} items "
            f"have no row (matched by {foreign.by})",
            where=foreign.source,
            remedy="check the ids" if absent == len(items) else "say --partial to take what fits",
        )
    facts = {
        "encoder": "import",
        "file": foreign.source.name,
        "by": foreign.by,
        "source_rows": len(foreign.ids),
        **foreign.facts,
    }
    if foreign.source.is_file():
        facts["sha256"] = sha256_file(foreign.source)
    facts |= {"rows_of_unknown_items": unknown, "items_without_row": absent}
    matched = ForeignRows(foreign.vectors, rows, foreign.source)
    folder, present = store_rows(dataset_path, name, matched, facts)
    with_vector = int(present.sum())
    return ImportedFeatures(
        name=name,
        source=str(foreign.source),
        by=foreign.by,
        items=len(items),
        present=with_vector,
        missing=len(items) - with_vector,
        absent=absent,
        unknown=unknown,
        dim=foreign.vectors.shape[1],
        folder=str(folder),
    )


def _detect_format(source: Path, ids: Path | None) -> str:
    if source.is_dir():
        return "mmrec" if any(source.glob("*_feat.npy")) else "ducho"
    if source.name.endswith("_feat.npy") and ids is None and not (source.parent / IDS).is_file():
        return "mmrec"
    return "parquet" if source.suffix.lower() in {".parquet", ".pq"} else "npy"


def _require_name(name: str | None, source: Path) -> str:
    if name is None:
        raise FeatureError("has no name for the modality", where=source, remedy="write NAME=FILE")
    return name


def read_ids(file: Path) -> list[str]:
    """Read item ids from a text file with one per line, a CSV or Parquet with ``item_id``, or a ``.npy`` array."""
    if not file.is_file():
        raise FeatureError("no such file", where=file, remedy="give the file of the item ids")
    if file.suffix.lower() == ".npy":
        array = read_array(file, "an array of ids", "save it as text")
        return [str(item_id) for item_id in array.ravel().tolist()]
    if file.suffix.lower() in {".parquet", ".pq"}:
        return _read_parquet_ids(file)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeError) as error:
        raise FeatureError("cannot be read as text", where=file, remedy="give UTF-8") from error
    rows = list(csv.reader(text.splitlines(keepends=True)))
    if rows and "item_id" in rows[0]:
        column = rows[0].index("item_id")
        return [row[column] for row in rows[1:] if row]
    if rows and len(rows[0]) > 1:
        raise FeatureError(f"no column 'item_id' (there are: {', '.join(rows[0])})", where=file, remedy="name it so")
    return text.splitlines()


def _read_parquet_ids(file: Path) -> list[str]:
    import pandas as pd

    try:
        return pd.read_parquet(file, columns=["item_id"])["item_id"].astype(str).tolist()
    except (OSError, ValueError, KeyError) as error:
        raise FeatureError("has no readable column 'item_id'", where=file, remedy="give the items' ids") from error


def check_order(items: Sequence[str], file: Path, *, ordered: bool) -> None:
    """Raise ``FeatureError`` unless row k of a file is certainly item k of ``items`` (ids, in the dataset's order).

    ``ordered``: whether the dataset was made with an items file, whose order is the dataset's. Otherwise its items are
    in the order of their first interaction, which no other program knows. Ids that are 0..n-1 (or 1..n) are numbers of
    rows themselves.
    """
    for first in (0, 1):
        numbers = [str(k) for k in range(first, first + len(items))]
        if list(items) == numbers:
            return
        if set(items) == set(numbers):
            problem = f"the ids are {first} to {numbers[-1]}, but the dataset has them in another order"
            break
    else:
        if ordered:
            return
        problem = "the dataset was made without an items file, so that its items are in the order of their interactions"
    raise FeatureError(
        f"which item a row belongs to is not certain: {problem}",
        where=file,
        remedy="name the items of the rows: --ids FILE, one id a line; --ids DATASET/items.parquet for its own order",
    )


def _read_npy(file: Path, items: list[str], ids: Path | None, *, ordered: bool) -> ForeignVectors:
    matrix = read_matrix(file)
    beside = file.parent / IDS
    ids_file = ids if ids is not None else beside if beside.is_file() else None
    if ids_file is None:
        if len(matrix) != len(items):
            raise FeatureError(
                f"{len(matrix):,} rows for {len(items):,} items",
                where=file,
                remedy="name the items of the rows: --ids FILE",
            )
        check_order(items, file, ordered=ordered)
        return ForeignVectors(items, matrix, file, "row k is item k")
    row_ids = read_ids(ids_file)
    if len(row_ids) != len(matrix):
        raise FeatureError(f"{len(matrix):,} rows, and {len(row_ids):,} ids in {ids_file.name}", where=file)
    return ForeignVectors(row_ids, matrix, file, f"ids of {ids_file.name}")


def _mmrec_files(source: Path, name: str | None) -> list[tuple[str, Path]]:
    if source.is_file():
        return [(name or source.stem.removesuffix("_feat"), source)]
    files = [(path.stem.removesuffix("_feat"), path) for path in sorted(source.glob("*_feat.npy"))]
    if not files:
        raise FeatureError("no *_feat.npy in it", where=source, remedy="give the folder of an MMRec dataset")
    if name is None:
        return files
    chosen = [(name, path) for modality, path in files if modality == name or len(files) == 1]
    if not chosen:
        available = ", ".join(modality for modality, _ in files)
        raise FeatureError(f"no {name}_feat.npy in it (there are: {available})", where=source)
    return chosen


def _read_mmrec(file: Path, items: list[str], *, ordered: bool) -> ForeignVectors:
    """Read a feature file of MMRec, whose row k belongs to MMRec's item number k.

    The numbers are matched by MMRec's mapping file where it exists, else by item ids that are these numbers, else row k
    is item k of the dataset.
    """
    matrix = read_matrix(file)
    mapping = file.parent / MAPPING
    if mapping.is_file():
        with open(mapping, encoding="utf-8-sig", newline="") as handle:
            delimiter = "\t" if "\t" in handle.readline() else ","
            handle.seek(0)
            rows = list(csv.reader(handle, delimiter=delimiter))
        column = [name.lower() for name in rows[0]]
        if "itemid" not in column or len(column) != 2:
            raise FeatureError(f"has columns {', '.join(rows[0])}", where=mapping, remedy="two: an id, and itemID")
        number = column.index("itemid")
        numbered = {row[number]: row[1 - number] for row in rows[1:] if len(row) == 2}
        ids = [numbered.get(str(k)) for k in range(len(matrix))]
        if None in ids or len(numbered) != len(matrix):
            raise FeatureError(f"{len(matrix):,} rows, and {len(numbered):,} items in {mapping.name}", where=file)
        return ForeignVectors([str(item_id) for item_id in ids], matrix, file, MAPPING)
    numbers = [str(k) for k in range(len(matrix))]
    if set(items) <= set(numbers):
        return ForeignVectors(numbers, matrix, file, "row k is item k of MMRec")
    if len(matrix) != len(items):
        raise FeatureError(
            f"{len(matrix):,} rows for {len(items):,} items, whose ids are not MMRec's numbers",
            where=file,
            remedy=f"put {MAPPING} beside it",
        )
    check_order(items, file, ordered=ordered)
    return ForeignVectors(items, matrix, file, "row k is item k here")


def _read_ducho(folder: Path, items: list[str], table: pd.DataFrame) -> ForeignVectors:
    """Read a folder of Ducho: OUT/BACKEND/MODEL/LAYER/NAME.npy, a vector (1, D) each.

    NAME is an item's id, or the file name of its image up to the first dot.
    """
    if not folder.is_dir():
        raise FeatureError("is not a folder", where=folder, remedy="give the folder of Ducho's .npy files")
    leaves = sorted({Path(leaf) for leaf, _, files in os.walk(folder) if any(name.endswith(".npy") for name in files)})
    if len(leaves) != 1:
        some = ", ".join(str(leaf.relative_to(folder)) for leaf in leaves[:4])
        raise FeatureError(
            f"{len(leaves)} folders with .npy files in it" + (f" ({some})" if some else ""),
            where=folder,
            remedy="give the folder of one model and layer",
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
            return ForeignVectors(ids, np.stack(vectors), leaves[0], "names of the image files", _hashed(files))
    return ForeignVectors(names, np.stack(vectors), leaves[0], "names of the files", _hashed(files))


def _hashed(files: list[Path]) -> dict[str, Any]:
    return {"sha256": sha256_bytes(*(file.read_bytes() for file in files))}
