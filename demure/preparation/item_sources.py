"""The items of a dataset, from an items file, the rows of feature matrices, or the interactions alone."""

from __future__ import annotations

import re
from pathlib import Path

from demure.errors import DataError, FeatureError
from demure.features.importing import read_array
from demure.preparation.item_columns import ItemIds
from demure.preparation.items import Items, items_by_row, read_items
from demure.preparation.options import PrepareOptions
from demure.preparation.problems import Findings


def find_mmrec_features(path: Path, findings: Findings) -> dict[str, Path]:
    """Return modality -> file of every NAME_feat.npy in the folder of MMRec's interactions."""
    files = {file.name.removesuffix("_feat.npy"): file for file in sorted(path.parent.glob("?*_feat.npy"))}
    if files:
        findings.note(f"features beside {path.name}: {', '.join(file.name for file in files.values())}")
    return files


def read_described_items(
    options: PrepareOptions,
    interaction_ids: ItemIds,
    format: str,
    feature_files: dict[str, Path],
    findings: Findings,
) -> Items | None:
    """Return the items, or None if only the interactions name them; check the numbers of rows of the matrices.

    ``interaction_ids``: the distinct ids of the interactions.
    """
    matrix_rows = {path: _count_npy_rows(path) for path in feature_files.values() if path.suffix.lower() == ".npy"}
    described = None
    if options.items is not None:
        described = read_items(options.items, findings, options.selection(items=True), interaction_ids)
    items = described
    if format == "mmrec":
        rows = next(iter(matrix_rows.values()), None) or _count_items_by_id(interaction_ids, options.interactions)
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


def _count_items_by_id(interaction_ids: ItemIds, path: Path) -> int:
    """Return the number of items of MMRec's interactions without features: one more than the largest id."""
    ids = [item_id for item_id in interaction_ids.ids.to_pylist() if item_id]
    numbers = [int(item_id) for item_id in ids if re.fullmatch(r"\d{1,9}", item_id)]
    if not numbers:
        problem = "item ids are not row numbers"
        raise DataError(problem, where=path, remedy="use --format csv for other ids")
    return max(numbers) + 1
