"""`demure features export`: write features as files of other tools, which `demure features import` reads back."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demure.errors import FeatureError
from demure.features import store
from demure.features.exchange import FORMATS, IDS, MAPPING
from demure.files import atomic_folder, cannot_write, refuse_existing


@dataclass(frozen=True)
class ExportedFeatures:
    """Result of `demure features export`: the ``folder``, and what is in it."""

    folder: str
    format: str
    modalities: list[str]
    items: int
    files: int


def export_features(
    dataset_path: Path, out: Path, names: Sequence[str] = (), format: str = "npy", *, overwrite: bool = False
) -> ExportedFeatures:
    """Write the features ``names`` (default: all) into the folder ``out``.

    ``npy``: NAME.npy, row k for line k of item_ids.csv; ``parquet``: NAME.parquet with ``item_id`` and ``vector``, null
    where an item has none; ``mmrec``: NAME_feat.npy, and i_id_mapping.csv; ``ducho``: NAME/MODEL/0/ITEM.npy (1, d).
    An item without a vector has a row of zeros in the first and third. Raises ``FeatureError``, ``DemureError``.
    """
    if format not in FORMATS:
        raise FeatureError(f"unknown format {format!r}", where="--format", remedy=f"use {', '.join(FORMATS)}")
    available = store.names(dataset_path)
    if not available:
        raise FeatureError("has no features", where=dataset_path, remedy="run `demure extract` first")
    wanted = list(dict.fromkeys(names)) or available
    for name in wanted:
        store.read_manifest(dataset_path, name)  # refuses a name that is absent before anything is written
    ids = store.item_ids(dataset_path).tolist()
    refuse_existing(Path(out), overwrite=overwrite)
    if (
        Path(out).is_dir()
        and overwrite
        and any(path.suffix not in {".npy", ".csv", ".parquet"} for path in _files(out))
    ):
        raise FeatureError("holds other files than an export", where=out, remedy="choose another --out")
    with atomic_folder(Path(out), overwrite=overwrite) as folder:
        try:
            for name in wanted:
                _write(folder, format, store.load(dataset_path, name), ids)
            if format in ("npy", "mmrec"):
                _write_ids(folder, format, ids)
        except OSError as error:
            raise cannot_write(Path(out), error) from error
        files = len(_files(folder))
    return ExportedFeatures(str(out), format, wanted, len(ids), files)


def _files(folder: Path) -> list[Path]:
    return [path for path in Path(folder).rglob("*") if path.is_file()]


def _write(folder: Path, format: str, features: store.Features, ids: list[str]) -> None:
    if format == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        nullable = [row if present else None for row, present in zip(features.vectors, features.present, strict=True)]
        vectors = pa.array(nullable, pa.list_(pa.float32()))
        pq.write_table(
            pa.table({"item_id": pa.array(ids, pa.string()), "vector": vectors}), folder / f"{features.name}.parquet"
        )
    elif format == "ducho":
        bad = next((name for name in ids if not name or "/" in name or "\0" in name or name in (".", "..")), None)
        if bad is not None:
            raise FeatureError(f"item id {bad!r} cannot name a file", where=format, remedy="use --format parquet")
        encoder = re.sub(r"[^\w.-]+", "-", str(features.provenance.get("encoder", "demure")))
        leaf = folder / features.name / encoder / "0"
        leaf.mkdir(parents=True)
        for row in np.flatnonzero(features.present).tolist():
            np.save(leaf / f"{ids[row]}.npy", features.vectors[row : row + 1])
    else:
        np.save(folder / f"{features.name}{'_feat' if format == 'mmrec' else ''}.npy", features.vectors)


def _write_ids(folder: Path, format: str, ids: list[str]) -> None:
    with open(folder / (IDS if format == "npy" else MAPPING), "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["item_id"] if format == "npy" else ["item_id", "itemID"])
        writer.writerows([item_id] if format == "npy" else [item_id, k] for k, item_id in enumerate(ids))
