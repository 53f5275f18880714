"""Items that came after a dataset was prepared, from a file with the columns of its raw items file.

Shape suffix: N new items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from demure.data.dataset import Dataset
from demure.errors import DataError, FeatureError
from demure.features.importing import finite_rows, match_rows, read_matrix, read_parquet, refuse_empty
from demure.preparation.images import locate_images, locate_media
from demure.preparation.items import read_items
from demure.preparation.later_files import advice_on_files, as_file, dataset_columns
from demure.preparation.problems import Findings

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class NewItems:
    """N items that a dataset does not have.

    Attributes:
        frame: (N rows) ``item_id``, the texts, ``image`` and the attributes, as the table of ``Dataset.items``.
        images_root: the folder that ``image`` is relative to; None without images.
        media_roots: the same of ``audio`` and ``video``, where the dataset has them.
        vectors: modality -> vectors (N, D) and presence (N,), for modalities that are given as vectors.
        notes: what was odd in the file, a sentence each.
    """

    frame: pd.DataFrame
    images_root: Path | None
    vectors: dict[str, tuple[np.ndarray, np.ndarray]]
    notes: list[str]
    media_roots: dict[str, Path] = field(default_factory=dict)

    @property
    def ids(self) -> np.ndarray:
        """The ids (N,), an object array of str."""
        return self.frame["item_id"].to_numpy(dtype=object)


def read_new_items(
    source: Path | pd.DataFrame,
    dataset: Dataset,
    images: Path | None = None,
    features: Mapping[str, Path] | None = None,
) -> NewItems:
    """Read the items of ``source``, a file or frame, that ``dataset`` does not have.

    ``images``: the folder of their images, by default that of the file; their audio and video files are in the folders
    that the dataset names. ``features``: modality -> file of vectors, by
    row of ``source`` (.npy) or by ``item_id`` (Parquet). `prepare --columns` holds for this file, too. Raises
    ``DataError`` if the file cannot be read, lacks such a column, or has no new item, ``FeatureError`` for vectors that
    do not fit.
    """
    root = images if images is not None or isinstance(source, Path) else Path()
    with as_file(source, "items") as file, advice_on_files(items=True):
        return _read(file, dataset, root, features or {})


def _read(file: Path, dataset: Dataset, images: Path | None, features: Mapping[str, Path]) -> NewItems:
    import pandas as pd

    findings = Findings()
    items = read_items(file, findings, dataset_columns(dataset, items=True))
    dataset_ids = set(dataset.item_ids)
    is_new = np.array([item not in dataset_ids for item in items.ids], bool)
    if not is_new.any():
        raise DataError(
            f"holds no new item: the dataset has all {len(items.ids)} already",
            where=file,
            remedy="give the items that came after `demure prepare`",
        )
    vectors = {name: _vectors(path, items.ids, items.rows, items.file_rows) for name, path in features.items()}
    vectors = {name: (matrix[is_new], present[is_new]) for name, (matrix, present) in vectors.items()}
    n_known = int((~is_new).sum())
    items = items.take(np.flatnonzero(is_new))
    root = None
    if "image" in items.columns or images is not None:
        items, root = locate_images(items, images, file, findings)
    folders = {kind: folder for kind, folder in dataset.media_roots.items() if folder.is_dir()}
    items, media_roots = locate_media(items, folders, file, findings)
    notes = [note for note in findings.notes if ": recognised as " not in note]
    for problem in findings.problems.values():
        first = problem.first[0]
        notes.append(f"{problem.kind}: {problem.count} {problem.action}, first row {first.row}: {first.value}")
    if n_known:
        notes.append(
            f"{file.name}: {n_known} items are in the dataset already and keep the content that they have there"
        )
    frame = pd.DataFrame({"item_id": items.ids, **items.columns, **items.attributes}, dtype=object)
    return NewItems(frame, root, vectors, notes, media_roots)


def _vectors(file: Path, ids: np.ndarray, rows: np.ndarray, total: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors (N, D) and presence (N,) of the items ``ids``, which are the ``rows`` of an items file."""
    if not file.is_file():
        raise FeatureError("no such file", where=file, remedy="check --features NAME=FILE")
    if file.suffix.lower() not in {".parquet", ".pq"}:
        matrix = read_matrix(file)
        if len(matrix) != total:
            remedy = "row k must be the k-th row of the items file (zeros or NaN for an item without it)"
            raise FeatureError(f"{len(matrix)} rows for {total} items", where=file, remedy=remedy)
        return _present_rows(np.asarray(matrix[rows]), file)
    file_ids, listed = read_parquet(file)
    position = match_rows(ids, file_ids)
    raw = np.where((position >= 0)[:, None], listed[position], np.float32(np.nan))
    return _present_rows(raw, file)


def _present_rows(raw: np.ndarray, file: Path) -> tuple[np.ndarray, np.ndarray]:
    vectors, present = finite_rows(raw)
    refuse_empty(present, file)
    return vectors, present
