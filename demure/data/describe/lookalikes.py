"""Items that are the same thing twice: equal or nearly equal texts, the same image file, nearly equal features."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

import numpy as np

from demure.data.dataset import Dataset
from demure.data.images import is_file

TEXT_COSINE, FEATURE_COSINE = 0.9, 0.995
MOST_COMPARED = 30_000  # pairs grow with the square: beyond this, only what is equal is looked for
_ROWS = 1024


@dataclass(frozen=True)
class Group:
    """Items that look alike by ``kind`` of content: equal, or only nearly."""

    kind: str
    equal: bool
    item_ids: list[str]


@dataclass(frozen=True)
class Lookalikes:
    """``groups``: the largest first; ``items``: kind -> how many items have another that is equal or nearly so.
    ``notes``: what was not looked at."""

    groups: list[Group]
    items: dict[str, int]
    notes: list[str] = field(default_factory=list)


def find_lookalikes(dataset: Dataset, keep: int = 50) -> Lookalikes:
    """Compare texts (TF-IDF of words, cosine at least ``TEXT_COSINE``), image files (by their bytes) and stored
    features (cosine at least ``FEATURE_COSINE``); at most ``keep`` groups of each kind are returned."""
    ids, notes = dataset.item_ids, []
    groups: list[Group] = []
    counted: dict[str, int] = {}

    def tell(kind: str, equal: bool, found: list[list[int]]) -> None:
        if found:
            name = kind if equal else f"{kind}, nearly"
            counted[name] = sum(map(len, found))
            found.sort(key=lambda group: (-len(group), group))
            groups.extend(Group(kind, equal, [str(ids[item]) for item in group]) for group in found[:keep])

    texts = _texts(dataset)
    if texts:
        same = _equal((text, item) for item, text in texts.items())
        tell("text", True, same)
        first = sorted({group[0] for group in same} | (set(texts) - {item for group in same for item in group}))
        if len(first) <= MOST_COMPARED:
            tell("text", False, _near_texts(first, [texts[item] for item in first]))
        else:
            notes.append(f"{len(first)} texts are too many to compare by likeness: only equal ones were looked for")
    tell("image", True, _same_files(dataset))
    for name in dataset.modalities():
        vectors, there = _features(dataset, name)
        if len(there) <= MOST_COMPARED:
            tell(f"features/{name}", False, _near_vectors(there, vectors))
        else:
            notes.append(f"features/{name}: {len(there)} items are too many to compare")
    return Lookalikes(groups, counted, notes)


def _texts(dataset: Dataset) -> dict[int, str]:
    """Item -> all its texts in one, without differences of case and spaces."""
    if not dataset.text_columns:
        return {}
    rows = zip(*(dataset.items[name] for name in dataset.text_columns), strict=True)
    joined = (" ".join(" ".join(value.lower().split()) for value in row if value) for row in rows)
    return {item: text for item, text in enumerate(joined) if text}


def _equal(pairs: Iterable[tuple[Hashable, int]]) -> list[list[int]]:
    """Items that share a key, where there are several."""
    by_key: dict[Hashable, list[int]] = defaultdict(list)
    for key, item in pairs:
        by_key[key].append(item)
    return [items for items in by_key.values() if len(items) > 1]


def _same_files(dataset: Dataset) -> list[list[int]]:
    root = dataset.images_root
    if root is None or "image" not in dataset.items.columns:
        return []
    files = {item: root / name for item, name in enumerate(dataset.items["image"]) if is_file(root, name)}
    same_size = _equal((path.stat().st_size, item) for item, path in files.items())
    return _equal((hashlib.sha256(files[item].read_bytes()).digest(), item) for group in same_size for item in group)


def _near_texts(items: list[int], texts: list[str]) -> list[list[int]]:
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        matrix = TfidfVectorizer(token_pattern=r"(?u)\w+", dtype=np.float32).fit_transform(texts)
    except ValueError:  # no text has a word
        return []
    pairs: list[tuple[int, int]] = []
    for at in range(0, len(items), _ROWS):
        likeness = (matrix[at : at + _ROWS] @ matrix.T).tocoo()
        near = (likeness.data >= TEXT_COSINE) & (likeness.row + at < likeness.col)
        pairs += zip((likeness.row[near] + at).tolist(), likeness.col[near].tolist(), strict=True)
    return _connected(items, pairs)


def _features(dataset: Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors (n, d) of the items that have some, and which items those are."""
    from safetensors.numpy import load_file

    arrays = load_file(str(dataset.path / "features" / name / "features.safetensors"))
    there = np.flatnonzero(arrays["present"])
    vectors = arrays["vectors"][there].astype(np.float32)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), there


def _near_vectors(items: np.ndarray, vectors: np.ndarray) -> list[list[int]]:
    pairs: list[tuple[int, int]] = []
    for at in range(0, len(items), _ROWS):
        row, column = np.nonzero(vectors[at : at + _ROWS] @ vectors.T >= FEATURE_COSINE)
        later = row + at < column
        pairs += zip((row[later] + at).tolist(), column[later].tolist(), strict=True)
    return _connected(items.tolist(), pairs)


def _connected(items: list[int], pairs: list[tuple[int, int]]) -> list[list[int]]:
    """Groups of items that hang together by ``pairs`` of places in ``items``."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not pairs:
        return []
    a, b = np.array(pairs).T
    n = len(items)
    _, label = connected_components(coo_array((np.ones(len(a), bool), (a, b)), shape=(n, n)), directed=False)
    return _equal((int(label[place]), items[place]) for place in np.unique(np.concatenate([a, b])).tolist())
