"""The data sets of the benchmarks, prepared once under a scratch folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from demure.demo.catalogue import CatalogueOptions, render
from demure.extraction.extract import extract
from demure.preparation.prepare import PrepareOptions
from demure.preparation.with_features import prepare_with_features

PLANTED = ("clear", "hard", "rich", "smooth", "movies")
RIVALS = ("hidden", "trend", "habit", "junk")
REAL = ("ml-100k", "hm-week", "amazon-scientific", "amazon-beauty", "tiktok", "ml-100k-random", "hm-week-random")
"""Real data; ``-random`` with 64 columns of noise in place of the images and texts."""
NAMES = (*(f"planted-{kind}" for kind in PLANTED), "demo", "ml-100k", "tiktok")


@dataclass(frozen=True)
class BenchmarkSet:
    """A prepared dataset folder; ``truth``: the file with the cause of every choice, where these are known."""

    name: str
    path: Path
    truth: Path | None = None

    def read_truth(self) -> pd.DataFrame | None:
        """Return the planted truth, or None."""
        if self.truth is None:
            return None
        return pd.read_csv(self.truth, dtype={"user_id": str, "item_id": str, "modality": str})


def obtain(name: str, data: Path, work: Path) -> BenchmarkSet:
    """Return the set ``name``, prepared under ``work`` from the raw files under ``data`` (``../shared/data``)."""
    out = work / "sets" / name
    if name == "demo":
        raw_demo = work / "raw" / "demo"
        if not raw_demo.exists():
            render(raw_demo, CatalogueOptions(seed=0))
        if not out.exists():
            prepare_with_features(
                PrepareOptions(raw_demo / "interactions.csv", out, items=raw_demo / "items.csv", images=raw_demo)
            )
            extract(out, text="tfidf", image="color")
        return BenchmarkSet(name, out, raw_demo / "truth.csv")
    noise = name.endswith("-random")
    base = name.removesuffix("-random")
    raw = data / ("ml-100k-posters" if base == "ml-100k" else base)
    if not raw.is_dir():
        raise SystemExit(f"{raw}: no such folder; say where the data is with --data")
    if not out.exists():
        if noise:
            prepare_with_features(
                PrepareOptions(
                    raw / "interactions.csv",
                    out,
                    items=raw / "items.csv",
                    features=_noise(raw / "items.csv", work / "raw" / name),
                    split="leave-one-out" if base == "ml-100k" else "given",
                )
            )
        elif name == "ml-100k":
            prepare_with_features(PrepareOptions(raw / "interactions.csv", out, items=raw / "items.csv", images=raw))
            extract(out, text="tfidf", image="color")
        elif name in ("hm-week", "amazon-scientific", "amazon-beauty"):
            pictures = raw if name == "hm-week" else None
            prepare_with_features(
                PrepareOptions(raw / "interactions.csv", out, items=raw / "items.csv", images=pictures, split="given")
            )
            extract(out, text="tfidf", image="color" if pictures else None)
        elif name == "tiktok":
            prepare_with_features(PrepareOptions(raw / "tiktok.inter", out, format="mmrec", split="given"))
        else:
            features = {file.stem: file for file in sorted(raw.glob("*.npy"))}
            prepare_with_features(
                PrepareOptions(raw / "interactions.csv", out, items=raw / "items.csv", features=features)
            )
    truth = raw / "truth.csv"
    return BenchmarkSet(name, out, truth if truth.exists() else None)


def _noise(items: Path, folder: Path) -> dict[str, Path]:
    """Write an image and a text of 64 columns of noise for every item of the file ``items``."""
    folder.mkdir(parents=True, exist_ok=True)
    random, count = np.random.default_rng(0), len(pd.read_csv(items, dtype=str))
    features = {name: folder / f"{name}.npy" for name in ("image", "text")}
    for file in features.values():
        np.save(file, random.normal(size=(count, 64)).astype(np.float32), allow_pickle=False)
    return features
