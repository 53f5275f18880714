"""Which items have which content, and which contents are missing together."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from demure.data.dataset import Dataset
from demure.data.feature_manifest import read_arrays
from demure.images.files import ImageFolder

_PATTERNS = 12  # combinations of missing contents that are reported


NOTHING = "nothing"
"""What items lack that have all kinds of content."""


@dataclass(frozen=True)
class Coverage:
    """How much of the content is there.

    Attributes:
        items: the number of items.
        present: kind of content -> number of items that have it.
        taken: kind of content -> share of all interactions whose item has it.
        lacking: combination of missing kinds ("nothing" for complete items) -> number of items, the most frequent
            first.
        columns: text column -> number of items that have a text there.
    """

    items: int
    present: dict[str, int]
    taken: dict[str, float]
    lacking: dict[str, int]
    columns: dict[str, int]


def measure_coverage(dataset: Dataset) -> Coverage:
    """Count the items that have each kind of content."""
    has_content = content_masks(dataset)
    counts = np.bincount(dataset.histories("train", "valid", "test").items, minlength=dataset.n_items)
    lacking = Counter(
        " + ".join(kind for kind, is_present in zip(has_content, row, strict=True) if not is_present) or NOTHING
        for row in zip(*(mask.tolist() for mask in has_content.values()), strict=True)
    )
    total = max(1, int(counts.sum()))
    return Coverage(
        dataset.n_items,
        {kind: int(mask.sum()) for kind, mask in has_content.items()},
        {kind: int(counts[mask].sum()) / total for kind, mask in has_content.items()},
        dict(lacking.most_common(_PATTERNS)),
        {name: int(dataset.items[name].notna().sum()) for name in dataset.text_columns},
    )


def content_masks(dataset: Dataset) -> dict[str, np.ndarray]:
    """Return kind of content -> (I,) bool: the items with ``text``, ``image``, ``audio``, ``video`` (the file exists),
    ``features/NAME``."""
    items = dataset.items
    masks: dict[str, np.ndarray] = {}
    if dataset.text_columns:
        masks["text"] = items[dataset.text_columns].notna().any(axis=1).to_numpy()
    for kind, root in {"image": dataset.images_root, **dataset.media_roots}.items():
        if kind in items.columns:
            folder = None if root is None else ImageFolder(root, kind)
            exists = [folder is not None and folder.find(value) is not None for value in items[kind]]
            masks[kind] = np.array(exists, bool)
    for name in dataset.modalities():
        masks[f"features/{name}"] = read_arrays(dataset.path, name, ("present",))["present"]
    return masks
