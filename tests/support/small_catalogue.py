"""A dataset whose items have texts and pictures, encoded by the built-in encoders; some items were never chosen."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from support.small_sets import SMALL

from demure.demo.planted import plant
from demure.extraction.extract import extract
from demure.preparation.prepare import PrepareOptions, prepare

WORDS = ("alien ship space laser", "heart love letter kiss", "murder police crime clue", "castle king sword dragon")
COLOURS = ((200, 40, 40), (40, 160, 60), (40, 60, 200), (220, 200, 60))
NEVER = 4


def picture(group: int, seed: int) -> Image.Image:
    """A picture with the colour of the group and some noise of its own."""
    noise = np.random.default_rng(seed).integers(-30, 30, (32, 32, 3))
    return Image.fromarray(np.clip(np.array(COLOURS[group]) + noise, 0, 255).astype(np.uint8))


def title(group: int, seed: int) -> str:
    return " ".join(np.random.default_rng(seed).choice(WORDS[group].split(), 3))


def catalogue(folder: Path, users: int = 80, items: int = SMALL.items) -> Path:
    """Write ``folder/raw`` and the dataset ``folder/dataset``, and extract its features; return the dataset.

    ``NEVER`` items, n0, n1, ..., are never chosen; item i3 has no text and i4 no picture.
    """
    planted = plant(dataclasses.replace(SMALL, users=users, items=items, missing=0.0))
    raw = folder / "raw"
    (raw / "images").mkdir(parents=True)
    planted.interactions.to_csv(raw / "interactions.csv", index=False)
    ids = [*planted.items["item_id"], *(f"n{k}" for k in range(NEVER))]
    random = np.random.default_rng(0)
    # The planted features are near their cluster's centre; two of their signs stand for the cluster here.
    groups = {
        name: [int(a > 0) + 2 * int(b > 0) for a, b in vectors[:, :2]] + list(random.integers(0, 4, NEVER))
        for name, vectors in planted.features.items()
    }
    rows = []
    for k, item in enumerate(ids):
        picture(groups["image"][k], k).save(raw / "images" / f"{item}.png")
        rows.append((item, title(groups["text"][k], k), f"{10 + k}.50", f"{item}.png"))
    frame = pd.DataFrame(rows, columns=["item_id", "title", "price", "image"])
    frame.loc[frame["item_id"] == "i3", "title"] = None
    frame.loc[frame["item_id"] == "i4", "image"] = None
    frame.to_csv(raw / "items.csv", index=False)
    out = folder / "dataset"
    prepare(PrepareOptions(raw / "interactions.csv", out, items=raw / "items.csv", images=raw / "images"))
    extract(out, text="tfidf", image="color", attributes="price")
    return out
