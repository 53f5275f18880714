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


def exact_top_k(queries: np.ndarray, items: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the items (Q, k) with the largest inner products and those products, best first, ties by the lower index.

    ``queries`` (Q, D) and ``items`` (I, D) float32. Raises ``DemureError`` for k below 1 or above I.
    """
    if not 1 <= k <= len(items):
        raise DemureError(f"k is {k}", where="top-k", remedy=f"give 1 to {len(items)}")
    size = max(1, _SCORES_AT_ONCE // max(1, len(items)))
    blocks = [top_k(queries[start : start + size] @ items.T, k) for start in range(0, len(queries), size)]
    if not blocks:
        return np.zeros((0, k), np.int64), np.zeros((0, k), np.float32)
    return np.concatenate([best for best, _ in blocks]), np.concatenate([values for _, values in blocks])


def build_index(
    items: np.ndarray, keys: np.ndarray | None = None, *, connectivity: int = 16, expansion: int = 128
) -> Any:
    """Return a usearch index of ``items`` (I, D) float32 with the keys 0, 1, ... or ``keys`` (I,).

    It is HNSW (Malkov and Yashunin, TPAMI 2018) over inner products. They are not a metric (Morozov and Babenko,
    NeurIPS 2018) but find more here than a metric made from them (benchmarks/LOG.md). Raises ``MachineError`` without
    usearch.
    """
    usearch = require_usearch()
    index = usearch.Index(
        ndim=items.shape[1], metric="ip", dtype="f32", connectivity=connectivity, expansion_add=expansion
    )
    index.add(np.arange(len(items)) if keys is None else keys, np.ascontiguousarray(items, dtype=np.float32))
    return index


def search(index: Any, queries: np.ndarray, k: int, *, expansion: int = 128) -> np.ndarray:
    """Return the items (Q, k) that ``index`` finds for ``queries`` (Q, D), best first, -1 where it finds fewer.

    A larger ``expansion`` searches more of the index: slower, with a higher recall.
    """
    index.expansion_search = expansion
    matches = index.search(np.ascontiguousarray(queries, dtype=np.float32), k)
    keys = np.asarray(matches.keys).astype(np.int64).reshape(len(queries), -1)
    counts = np.atleast_1d(getattr(matches, "counts", np.full(len(queries), keys.shape[1])))
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
    name: str, items: np.ndarray, queries: np.ndarray, k: int, file: Path, keys: np.ndarray | None = None
) -> IndexReport:
    """Build the index of ``items`` (I, D), write it to ``file``, and measure it with ``queries`` (Q, D)."""
    keys = np.arange(len(items)) if keys is None else keys
    start = time.monotonic()
    index = build_index(items, keys)
    seconds = time.monotonic() - start
    index.save(str(file))
    k = min(k, len(items))
    recall = recall_of(keys[exact_top_k(queries, items, k)[0]], search(index, queries, k))
    timed = queries[:_TIMED_QUERIES]
    exact = _milliseconds(lambda query: exact_top_k(query, items, k), timed)
    approximate = _milliseconds(lambda query: search(index, query, k), timed)
    return IndexReport(
        name, file.name, len(items), items.shape[1], k, len(queries), recall, seconds, exact, approximate
    )


def recall_of(exact: np.ndarray, approximate: np.ndarray) -> float:
    """Return the share of ``exact`` (Q, k) that is in the same row of ``approximate`` (Q, k)."""
    hits = sum(len(np.intersect1d(a, b)) for a, b in zip(exact, approximate, strict=True))
    return hits / max(1, exact.size)


def _milliseconds(call: Callable[[np.ndarray], object], queries: np.ndarray) -> float:
    """Return the mean time of ``call`` on a single query."""
    call(queries[:1])
    start = time.perf_counter()
    for row in range(len(queries)):
        call(queries[row : row + 1])
    return 1000 * (time.perf_counter() - start) / max(1, len(queries))


def require_usearch() -> Any:
    """Return the module usearch.index. Raises ``MachineError`` where the package is missing."""
    try:
        import usearch.index
    except ImportError as error:
        remedy = "pip install 'demure[ann]', or leave it out"
        raise MachineError("the package usearch is not installed", where="--ann", remedy=remedy) from error
    return usearch.index
