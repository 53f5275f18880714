"""The k best items for a vector: exactly, or nearly so by a graph of neighbours where there are many (usearch)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from demure.errors import DemureError, MachineError
from demure.evaluation.top_k import top_k

_SCORES_AT_ONCE = 32_000_000


def exact_top_k(queries: np.ndarray, items: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Items (Q, k) with the largest inner products and those, best first, ties by the lower index.

    ``queries`` (Q, D) and ``items`` (I, D) float32. Raises ``DemureError`` for k below 1 or above I.
    """
    if not 1 <= k <= len(items):
        raise DemureError(f"k is {k}", where="top-k", remedy=f"give 1 to {len(items)}")
    size = max(1, _SCORES_AT_ONCE // max(1, len(items)))
    found = [top_k(queries[at : at + size] @ items.T, k) for at in range(0, len(queries), size)]
    if not found:
        return np.zeros((0, k), np.int64), np.zeros((0, k), np.float32)
    return np.concatenate([best for best, _ in found]), np.concatenate([values for _, values in found])


def build_index(
    items: np.ndarray, keys: np.ndarray | None = None, *, connectivity: int = 16, expansion: int = 128
) -> Any:
    """A usearch index of ``items`` (I, D) float32, called 0, 1, ... or ``keys`` (I,): HNSW (Malkov and Yashunin, TPAMI
    2018) straight over inner products, which are no metric (Morozov and Babenko, NeurIPS 2018) but do better here than
    a metric made of them (benchmarks/LOG.md). Raises ``MachineError`` without usearch.
    """
    usearch = need_usearch()
    index = usearch.Index(
        ndim=items.shape[1], metric="ip", dtype="f32", connectivity=connectivity, expansion_add=expansion
    )
    index.add(np.arange(len(items)) if keys is None else keys, np.ascontiguousarray(items, dtype=np.float32))
    return index


def search(index: Any, queries: np.ndarray, k: int, *, expansion: int = 128) -> np.ndarray:
    """Items (Q, k) that ``index`` finds for ``queries`` (Q, D), best first; -1 where it found fewer. The larger
    ``expansion``, the more it looks at."""
    index.expansion_search = expansion
    found = index.search(np.ascontiguousarray(queries, dtype=np.float32), k)
    keys = np.asarray(found.keys).astype(np.int64).reshape(len(queries), -1)
    counts = np.atleast_1d(getattr(found, "counts", np.full(len(queries), keys.shape[1])))
    return np.where(np.arange(keys.shape[1]) < counts[:, None], keys, -1)


@dataclass(frozen=True)
class IndexReport:
    """How good an approximate index is: ``recall`` is the share of the exact ``k`` best that it finds, over ``queries``
    queries; seconds to build it, and milliseconds a query by both ways, one query at a time."""

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
    """Build the index of ``items`` (I, D), write it to ``file``, and measure it by ``queries`` (Q, D)."""
    keys = np.arange(len(items)) if keys is None else keys
    began = time.monotonic()
    index = build_index(items, keys)
    seconds = time.monotonic() - began
    index.save(str(file))
    k = min(k, len(items))
    recall = recall_of(keys[exact_top_k(queries, items, k)[0]], search(index, queries, k))
    few = queries[:64]
    exact = _milliseconds(lambda one: exact_top_k(one, items, k), few)
    approximate = _milliseconds(lambda one: search(index, one, k), few)
    return IndexReport(
        name, file.name, len(items), items.shape[1], k, len(queries), recall, seconds, exact, approximate
    )


def recall_of(exact: np.ndarray, found: np.ndarray) -> float:
    """The share of ``exact`` (Q, k) that is in the same row of ``found`` (Q, k)."""
    hits = sum(len(np.intersect1d(a, b)) for a, b in zip(exact, found, strict=True))
    return hits / max(1, exact.size)


def _milliseconds(call: Any, queries: np.ndarray) -> float:
    call(queries[:1])
    began = time.perf_counter()
    for at in range(len(queries)):
        call(queries[at : at + 1])
    return 1000 * (time.perf_counter() - began) / max(1, len(queries))


def need_usearch() -> Any:
    """The package's module. Raises ``MachineError`` where it is missing."""
    try:
        import usearch.index
    except ImportError as error:
        remedy = "pip install 'demure[ann]', or leave it out"
        raise MachineError("the package usearch is not installed", where="--ann", remedy=remedy) from error
    return usearch.index
