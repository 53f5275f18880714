"""The data sets of the benchmarks, prepared once under a scratch folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from demure.data.prepare import PrepareOptions
from demure.demo.catalogue import CatalogueOptions, render
from demure.features.extract import extract
from demure.features.preparing import prepare_with_features

PLANTED = ("clear", "hard", "rich", "smooth", "movies")
NAMES = (*(f"planted-{kind}" for kind in PLANTED), "demo", "ml-100k", "tiktok")


@dataclass(frozen=True)
class Set:
    """A prepared dataset folder; ``truth`` where the cause of every choice is known."""

    name: str
    path: Path
    truth: Path | None = None

    def read_truth(self) -> pd.DataFrame | None:
        """The planted truth, or None."""
        if self.truth is None:
            return None
        return pd.read_csv(self.truth, dtype={"user_id": str, "item_id": str, "modality": str})


def obtain(name: str, data: Path, work: Path) -> Set:
    """The set ``name`` from the raw files under ``data`` (``../shared/data``), prepared under ``work``."""
    out = work / "sets" / name
    if name == "demo":
        made = work / "raw" / "demo"
        if not made.exists():
            render(made, CatalogueOptions(seed=0))
        if not out.exists():
            prepare_with_features(PrepareOptions(made / "interactions.csv", out, items=made / "items.csv", images=made))
            extract(out, text="tfidf", image="color")
        return Set(name, out, made / "truth.csv")
    raw = data / ("ml-100k-posters" if name == "ml-100k" else name)
    if not raw.is_dir():
        raise SystemExit(f"{raw}: no such folder; say where the data is with --data")
    if not out.exists():
        if name == "ml-100k":
            prepare_with_features(PrepareOptions(raw / "interactions.csv", out, items=raw / "items.csv", images=raw))
            extract(out, text="tfidf", image="color")
        elif name == "tiktok":
            prepare_with_features(PrepareOptions(raw / "tiktok.inter", out, format="mmrec", split="given"))
        else:
            features = {file.stem: file for file in sorted(raw.glob("*.npy"))}
            prepare_with_features(
                PrepareOptions(raw / "interactions.csv", out, items=raw / "items.csv", features=features)
            )
    truth = raw / "truth.csv"
    return Set(name, out, truth if truth.exists() else None)
