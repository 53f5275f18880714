"""Planted sets small enough to train on in a test, as dataset folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from demure.demo.planted import PlantedOptions, plant
from demure.preparation.prepare import PrepareOptions
from demure.preparation.with_features import prepare_with_features

SMALL = PlantedOptions(
    users=60, items=50, length=(5, 12), clusters=4, interests=(1, 2), dimensions=12, p_none=0.05, p_two=0.1, missing=0.1
)
QUICK = (
    "training.epochs=3",
    "training.popularity_only_epochs=1",
    "training.offset_epochs=2",
    "training.epoch_steps=2",
    "training.batch_users=32",
    "denoiser.candidates=30",
)


def dataset_folder(
    folder: Path, options: PlantedOptions = SMALL, *, timed: bool = True, split: str = "leave-one-out"
) -> Path:
    """Plant by ``options``, prepare, and return the dataset folder; with ``timed`` off, there are no timestamps."""
    plant(options).write(folder / "raw")
    if not timed:
        file = folder / "raw" / "interactions.csv"
        pd.read_csv(file).drop(columns="timestamp").to_csv(file, index=False)
    return prepared(folder / "raw", folder / "dataset", split=split if timed else "ratio")


def prepared(raw: Path, out: Path, split: str = "leave-one-out") -> Path:
    """Prepare the files of ``raw`` into the dataset folder ``out``; return it."""
    features = {file.stem: file for file in sorted(raw.glob("*.npy"))}
    options = PrepareOptions(raw / "interactions.csv", out, items=raw / "items.csv", features=features, split=split)
    return prepare_with_features(options).dataset


def raw_files(folder: Path, rows: list[tuple], features: dict[str, np.ndarray], columns: tuple[str, ...]) -> Path:
    """Write interactions.csv of ``rows``, items i0, i1, ... and NAME.npy into ``folder``; return it."""
    folder.mkdir(parents=True)
    pd.DataFrame(rows, columns=list(columns)).to_csv(folder / "interactions.csv", index=False)
    count = len(next(iter(features.values())))
    pd.DataFrame({"item_id": [f"i{k}" for k in range(count)]}).to_csv(folder / "items.csv", index=False)
    for name, matrix in features.items():
        np.save(folder / f"{name}.npy", np.asarray(matrix, dtype=np.float32))
    return folder


def prepared_set(folder: Path, items: dict[str, list]) -> Path:
    """Prepare these items, in their order, and one user who had them all, into ``folder``; return it."""
    raw = folder.with_name(f"{folder.name}-raw")
    raw.mkdir()
    pd.DataFrame(items).to_csv(raw / "items.csv", index=False)
    ids = items["item_id"]
    log = pd.DataFrame({"user_id": "u", "item_id": ids, "timestamp": range(len(ids))})
    log.to_csv(raw / "interactions.csv", index=False)
    return prepared(raw, folder)
