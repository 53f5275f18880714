"""Which items have which content, and what they lack together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demure.data.dataset import Dataset
from demure.data.images import is_file

_PATTERNS = 12


@dataclass(frozen=True)
class Coverage:
    """``items``: how many there are. ``present``: per kind of content how many items have it. ``taken``: per kind the
    share of all interactions whose item has it. ``lacking``: what items lack together ("nothing" for those that have
    all) -> how many, the most frequent first. ``columns``: per text column how many items have one."""

    items: int
    present: dict[str, int]
    taken: dict[str, float]
    lacking: dict[str, int]
    columns: dict[str, int]


def content(dataset: Dataset) -> dict[str, np.ndarray]:
    """Kind -> (I,) bool: ``text`` and ``image`` as given (an image counts if its file is there), and
    ``features/NAME``."""
    items = dataset.items
    found: dict[str, np.ndarray] = {}
    if dataset.text_columns:
        found["text"] = items[dataset.text_columns].notna().any(axis=1).to_numpy()
    if "image" in items.columns:
        root = dataset.images_root
        found["image"] = np.array([root is not None and is_file(root, value) for value in items["image"]], bool)
    for name in dataset.modalities():
        found[f"features/{name}"] = _present(dataset.path / "features" / name / "features.safetensors")
    return found


def _present(path: Path) -> np.ndarray:
    from safetensors import safe_open

    with safe_open(str(path), framework="numpy") as file:
        return file.get_tensor("present").astype(bool)


def coverage(dataset: Dataset) -> Coverage:
    """Count what there is; see ``Coverage``."""
    found = content(dataset)
    taken = np.bincount(dataset.histories("train", "valid", "test").items, minlength=dataset.n_items)
    lacking = Counter(
        " + ".join(kind for kind, there in zip(found, row, strict=True) if not there) or "nothing"
        for row in zip(*(mask.tolist() for mask in found.values()), strict=True)
    )
    total = max(1, int(taken.sum()))
    return Coverage(
        dataset.n_items,
        {kind: int(mask.sum()) for kind, mask in found.items()},
        {kind: int(taken[mask].sum()) / total for kind, mask in found.items()},
        dict(lacking.most_common(_PATTERNS)),
        {name: int(dataset.items[name].notna().sum()) for name in dataset.text_columns},
    )
