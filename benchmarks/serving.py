"""The k best items of a large catalogue, exactly and by usearch: `python benchmarks/serving.py --items 10000,100000`.

Vectors lie around 500 centres in 16 of 64 dimensions, with lengths that differ, as item vectors do; queries lie around
the same centres. Both ways use a thread per core of the machine.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from demure.serving.index import build_index, exact_top_k, recall_of, search

DIM, TRUE_DIM, CENTRES, K, QUERIES = 64, 16, 500, 20, 500


def _search(index: Any, ef_search: int, queries: np.ndarray) -> np.ndarray:
    nearest: np.ndarray = search(index, queries, K, ef_search=ef_search)
    return nearest


def vectors(items: int, queries: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return items (I, 64) and queries (Q, 64)."""
    rng = np.random.default_rng(seed)
    centres, basis = rng.normal(size=(CENTRES, TRUE_DIM)), rng.normal(size=(TRUE_DIM, DIM)) / DIM**0.5

    def draw(count: int) -> np.ndarray:
        drawn: np.ndarray = centres[rng.integers(CENTRES, size=count)] + 0.5 * rng.normal(size=(count, TRUE_DIM))
        return drawn

    lengths = rng.gamma(8, 1 / 8, size=(items, 1))
    item_vectors = (draw(items) * lengths) @ basis + 0.02 * rng.normal(size=(items, DIM))
    return item_vectors.astype(np.float32), (draw(queries) @ basis).astype(np.float32)


def milliseconds(call: Callable[[np.ndarray], object], queries: np.ndarray, at_once: int) -> float:
    """Return the time per query, the best of three rounds."""
    blocks = [queries[row : row + at_once] for row in range(0, len(queries), at_once)]
    call(blocks[0])
    times = []
    for _ in range(3):
        start = time.perf_counter()
        for block in blocks:
            call(block)
        times.append(1000 * (time.perf_counter() - start) / len(queries))
    return min(times)


def main(items: Annotated[str, typer.Option(help="Comma-separated catalogue sizes.")] = "10000,100000") -> None:
    """A table: build, size, and recall@20 with time per query, alone and 256 at once."""
    print("| items | way | build s | MB | recall@20 | ms a query, alone | ms a query, 256 at once |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for size in map(int, items.split(",")):
        item_vectors, queries = vectors(size, QUERIES)
        best, _ = exact_top_k(queries, item_vectors, K)
        few = queries[:50]
        exact = lambda q, items=item_vectors: exact_top_k(q, items, K)  # noqa: E731
        times = f"{milliseconds(exact, few, 1):.2f} | {milliseconds(exact, queries, 256):.2f}"
        print(f"| {size:,} | exact | - | {item_vectors.nbytes / 1e6:.0f} | 1 | {times} |", flush=True)
        start = time.perf_counter()
        index = build_index(item_vectors)
        built = time.perf_counter() - start
        with tempfile.TemporaryDirectory() as folder:
            index.save(str(Path(folder) / "index"))
            megabytes = (Path(folder) / "index").stat().st_size / 1e6
        for ef_search in (64, 128, 256):
            near = partial(_search, index, ef_search)
            times = f"{milliseconds(near, few, 1):.2f} | {milliseconds(near, queries, 256):.2f}"
            recall = recall_of(best, near(queries))
            way = f"usearch, expansion {ef_search}"
            print(f"| {size:,} | {way} | {built:.1f} | {megabytes:.0f} | {recall:.4f} | {times} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
