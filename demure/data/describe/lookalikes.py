"""Duplicate items: equal or nearly equal texts, the same image file, nearly equal features."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from demure.data.dataset import Dataset
from demure.data.feature_manifest import read_arrays
from demure.images.files import ImageFolder

TEXT_COSINE, FEATURE_COSINE = 0.9, 0.995
MOST_COMPARED = 30_000  # pairs grow with the square: beyond this, only equal texts are found
_ROWS = 1024  # compared with all items at a time


@dataclass(frozen=True)
class Group:
    """Items with the same ``kind`` of content: equal, or else nearly equal."""

    kind: str
    equal: bool
    item_ids: list[str]


@dataclass(frozen=True)
class Lookalikes:
    """``groups``: the largest first; ``items``: kind -> number of items that are in a group; ``notes``: contents that
    were not compared."""

    groups: list[Group]
    items: dict[str, int]
    notes: list[str] = field(default_factory=list)


def find_lookalikes(dataset: Dataset, keep: int = 50) -> Lookalikes:
    """Find groups of items with the same content, at most ``keep`` of each kind.

    Texts are compared by TF-IDF of words (cosine at least ``TEXT_COSINE``), image files by their bytes, stored features
    by cosine (at least ``FEATURE_COSINE``).
    """
    ids, notes = dataset.item_ids, []
    groups: list[Group] = []
    counts: dict[str, int] = {}

    def add(kind: str, equal: bool, members: list[list[int]]) -> None:
        if members:
            counts[kind if equal else f"{kind}, nearly"] = sum(map(len, members))
            members.sort(key=lambda group: (-len(group), group))
            groups.extend(Group(kind, equal, [str(ids[item]) for item in group]) for group in members[:keep])

    texts = _texts(dataset)
    if texts:
        equal = group_by_key((text, item) for item, text in texts.items())
        add("text", True, equal)
        # One item of each group of equal texts is compared with the others.
        distinct = sorted({group[0] for group in equal} | (set(texts) - {item for group in equal for item in group}))
        if len(distinct) <= MOST_COMPARED:
            add("text", False, _near_texts(distinct, [texts[item] for item in distinct]))
        else:
            notes.append(f"{len(distinct)} texts are too many to compare by likeness: only equal ones were looked for")
    add("image", True, same_files(dataset))
    for name in dataset.modalities():
        vectors, items = _unit_vectors(dataset, name)
        if len(items) <= MOST_COMPARED:
            add(f"features/{name}", False, _near_vectors(items, vectors))
        else:
            notes.append(f"features/{name}: {len(items)} items are too many to compare")
    return Lookalikes(groups, counts, notes)


def _texts(dataset: Dataset) -> dict[int, str]:
    """Return item -> all its texts in one, without differences of case and spaces."""
    if not dataset.text_columns:
        return {}
    rows = zip(*(dataset.items[name] for name in dataset.text_columns), strict=True)
    joined = (" ".join(" ".join(value.lower().split()) for value in row if value) for row in rows)
    return {item: text for item, text in enumerate(joined) if text}


def group_by_key(pairs: Iterable[tuple[Hashable, int]]) -> list[list[int]]:
    """Return the items of each key that several items share."""
    by_key: dict[Hashable, list[int]] = defaultdict(list)
    for key, item in pairs:
        by_key[key].append(item)
    return [items for items in by_key.values() if len(items) > 1]


def same_files(dataset: Dataset) -> list[list[int]]:
    """Return the items of each image file, by its bytes, that several items have."""
    root = dataset.images_root
    if root is None or "image" not in dataset.items.columns:
        return []
    folder = ImageFolder(root)
    return same_bytes([folder.find(name) for name in dataset.items["image"]])


def same_bytes(paths: Sequence[Path | None]) -> list[list[int]]:
    """Return the positions of files with the same content, several at a time; files that cannot be read have none."""
    files = {item: path for item, path in enumerate(paths) if path is not None and os.access(path, os.R_OK)}
    same_size = group_by_key((path.stat().st_size, item) for item, path in files.items())
    return group_by_key(
        (hashlib.sha256(files[item].read_bytes()).digest(), item) for group in same_size for item in group
    )


def _near_texts(items: list[int], texts: list[str]) -> list[list[int]]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        matrix = TfidfVectorizer(token_pattern=r"(?u)\w+", dtype=np.float32).fit_transform(texts)
    except ValueError:  # no text has a word
        return []
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(items), _ROWS):
        cosine = (matrix[start : start + _ROWS] @ matrix.T).tocoo()
        near = (cosine.data >= TEXT_COSINE) & (cosine.row + start < cosine.col)
        pairs += zip((cosine.row[near] + start).tolist(), cosine.col[near].tolist(), strict=True)
    return _connected(items, pairs)


def _unit_vectors(dataset: Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return unit vectors (n, d) of the items that have the modality, and these items (n,)."""
    arrays = read_arrays(dataset.path, name)
    items = np.flatnonzero(arrays["present"])
    vectors = arrays["vectors"][items].astype(np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), items


def _near_vectors(items: np.ndarray, vectors: np.ndarray) -> list[list[int]]:
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(items), _ROWS):
        row, column = np.nonzero(vectors[start : start + _ROWS] @ vectors.T >= FEATURE_COSINE)
        above_diagonal = row + start < column
        pairs += zip((row[above_diagonal] + start).tolist(), column[above_diagonal].tolist(), strict=True)
    return _connected(items.tolist(), pairs)


def _connected(items: list[int], pairs: list[tuple[int, int]]) -> list[list[int]]:
    """Return the connected components of ``pairs`` of positions in ``items``, as items."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not pairs:
        return []
    first, second = np.array(pairs).T
    shape = (len(items), len(items))
    _, label = connected_components(
        coo_array((np.ones(len(first), bool), (first, second)), shape=shape), directed=False
    )
    positions = np.unique(np.concatenate([first, second])).tolist()
    return group_by_key((int(label[position]), items[position]) for position in positions)
