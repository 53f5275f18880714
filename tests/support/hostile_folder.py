"""A dataset folder with good pictures and with files that cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from demure.preparation.prepare import PrepareOptions, prepare


def pictures(folder: Path, good: int, others: dict[str, bytes], side: int = 400) -> Path:
    """Write ``good`` pictures of 32 x 32 pixels and the files ``others`` between them; return the prepared dataset.

    One more item has no picture, one names a file that is not there, and one has a picture of ``side`` x ``side``.
    """
    images = folder / "images"
    images.mkdir(parents=True)
    names: list[str | None] = []
    for k in range(good):
        pixels = np.random.default_rng(k).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{k}.png")
        names.append(f"{k}.png")
    for k, (name, data) in enumerate(others.items()):
        (images / name).write_bytes(data)
        names.insert(7 * k + 3, name)
    Image.new("RGB", (side, side), "teal").save(images / "large.jpg")
    names[5:5] = [None, "absent.png", "large.jpg"]
    ids = [f"i{k}" for k in range(len(names))]
    pd.DataFrame({"item_id": ids, "image": names}).to_csv(folder / "items.csv", index=False)
    rows = {"user_id": [f"u{k // 6}" for k in range(36)], "item_id": ids[:36], "timestamp": range(36)}
    pd.DataFrame(rows).to_csv(folder / "interactions.csv", index=False)
    options = {"items": folder / "items.csv", "images": images}
    prepare(PrepareOptions(folder / "interactions.csv", folder / "dataset", **options))
    return folder / "dataset"


def feature_files(dataset: Path) -> dict[str, bytes]:
    """Return path -> bytes of all files of the features; of a cache of hashes, which holds times, only the path."""
    files = (path for path in (dataset / "features").rglob("*") if path.is_file())
    return {str(path.relative_to(dataset)): b"" if path.name.startswith(".") else path.read_bytes() for path in files}
