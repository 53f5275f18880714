"""The k best items for a vector: exactly, or by an approximate index where there are many (HNSW, usearch)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from demure.errors import DemureError, MachineError
from demure.evaluation.top_k import top_k

_SCORES_AT_ONCE = 32_000_000
_TIMED_QUERIES = 64


def exact_top_k(query_vectors: np.ndarray, item_vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the row numbers (Q, k) of the items with the largest inner products, best first, and these products.

    Of equal products the lower row number comes first. ``query_vectors`` (Q, D) and ``item_vectors`` (I, D)
    float32. Raises ``DemureError`` for k below 1 or above I.
    """
    if not 1 <= k <= len(item_vectors):
        raise DemureError(f"k is {k}", where="top-k", remedy=f"give 1 to {len(item_vectors)}")
    size = max(1, _SCORES_AT_ONCE // max(1, len(item_vectors)))
    blocks = [
        top_k(query_vectors[start : start + size] @ item_vectors.T, k) for start in range(0, len(query_vectors), size)
    ]
    if not blocks:
        return np.zeros((0, k), np.int64), np.zeros((0, k), np.float32)
    return np.concatenate([best for best, _ in blocks]), np.concatenate([values for _, values in blocks])


def build_index(
    item_vectors: np.ndarray, keys: np.ndarray | None = None, *, m: int = 16, ef_construction: int = 128
) -> Any:
    """Return a usearch index of ``item_vectors`` (I, D) float32 with the keys 0, 1, ... or ``keys`` (I,).

    It is HNSW (Malkov and Yashunin, TPAMI 2018) over inner products, with ``m`` links per item and the
    ``ef_construction`` candidates of a build. Inner product is not a metric (Morozov and Babenko, NeurIPS 2018), but
    its recall is higher here than that of a reduction to Euclidean distance (benchmarks/LOG.md). Raises
    ``MachineError`` without usearch.
    """
    usearch = require_usearch()
    index = usearch.Index(
        ndim=item_vectors.shape[1], metric="ip", dtype="f32", connectivity=m, expansion_add=ef_construction
    )
    index.add(
        np.arange(len(item_vectors)) if keys is None else keys, np.ascontiguousarray(item_vectors, dtype=np.float32)
    )
    return index


def search(index: Any, query_vectors: np.ndarray, k: int, *, ef_search: int = 128) -> np.ndarray:
    """Return the keys (Q, k) of the items that ``index`` finds for ``query_vectors`` (Q, D), best first.

    -1 where it finds fewer. A larger ``ef_search`` (the candidates that HNSW keeps) searches more of the index: slower,
    with a higher recall.
    """
    index.expansion_search = ef_search
    matches = index.search(np.ascontiguousarray(query_vectors, dtype=np.float32), k)
    keys = np.asarray(matches.keys).astype(np.int64).reshape(len(query_vectors), -1)
    counts = np.atleast_1d(getattr(matches, "counts", np.full(len(query_vectors), keys.shape[1])))
    return np.where(np.arange(keys.shape[1]) < counts[:, None], keys, -1)


@dataclass(frozen=True)
class IndexReport:
    """Quality of an approximate index.

    ``recall``: share of the exact ``k`` best items that it finds, over ``queries`` queries. ``exact_ms`` and
    ``approximate_ms``: milliseconds per query, one query at a time.
    """

    name: str
    file: str
    items: int
    dim: int
    k: int
    queries: int
    recall: float
    build_seconds: float
    exact_ms: float
    approximate_ms: float


def index_items(
    name: str, item_vectors: np.ndarray, query_vectors: np.ndarray, k: int, file: Path, keys: np.ndarray | None = None
) -> IndexReport:
    """Build the index of ``item_vectors`` (I, D), write it to ``file``, measure it with ``query_vectors`` (Q, D)."""
    keys = np.arange(len(item_vectors)) if keys is None else keys
    start = time.monotonic()
    index = build_index(item_vectors, keys)
    seconds = time.monotonic() - start
    index.save(str(file))
    k = min(k, len(item_vectors))
    recall = recall_of(keys[exact_top_k(query_vectors, item_vectors, k)[0]], search(index, query_vectors, k))
    timed = query_vectors[:_TIMED_QUERIES]
    exact = _milliseconds(lambda query: exact_top_k(query, item_vectors, k), timed)
    approximate = _milliseconds(lambda query: search(index, query, k), timed)
    n_items, dim = item_vectors.shape
    return IndexReport(name, file.name, n_items, dim, k, len(query_vectors), recall, seconds, exact, approximate)


def recall_of(exact: np.ndarray, approximate: np.ndarray) -> float:
    """Return the share of ``exact`` (Q, k) that is in the same row of ``approximate`` (Q, k)."""
    hits = sum(len(np.intersect1d(a, b)) for a, b in zip(exact, approximate, strict=True))
    return hits / max(1, exact.size)


def _milliseconds(call: Callable[[np.ndarray], object], query_vectors: np.ndarray) -> float:
    """Return the mean time of ``call`` on a single query."""
    call(query_vectors[:1])
    start = time.perf_counter()
    for row in range(len(query_vectors)):
        call(query_vectors[row : row + 1])
    return 1000 * (time.perf_counter() - start) / max(1, len(query_vectors))


def require_usearch() -> Any:
    """Return the module usearch.index. Raises ``MachineError`` where the package is missing."""
    try:
        import usearch.index
    except ImportError as error:
        remedy = "pip install 'demure[ann]', or leave it out"
        raise MachineError("the package usearch is not installed", where="--ann", remedy=remedy) from error
    return usearch.index
