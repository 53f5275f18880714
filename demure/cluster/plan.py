"""How many workers a cluster gets, and how many cores each."""

from __future__ import annotations

from collections.abc import Sequence

_CORES_PER_WORKER = 4


def plan_workers(nodes: Sequence[tuple[float, float]], workers: int | None, *, gpus: bool) -> tuple[int, float]:
    """Return the number of workers and the cores of each, so that all of them fit at the same time.

    ``nodes``: the cores and the GPUs of each machine; with ``gpus``, a worker takes a GPU, if there is any. Without a
    number of ``workers``, there is one for each GPU, or one for each four cores and at least one on every machine.
    """
    cores = [core for core, _ in nodes if core > 0] or [1.0]
    n_gpus = int(sum(gpu for _, gpu in nodes)) if gpus else 0
    if workers is None:
        workers = n_gpus or sum(max(1, int(core) // _CORES_PER_WORKER) for core in cores)
    for size in range(max(1, int(sum(cores)) // workers), 0, -1):
        if sum(int(core) // size for core in cores) >= workers:
            return workers, float(size)
    # More workers than cores: shares of a core, of which Ray counts ten thousandths.
    share = 1
    while sum(int(core * share) for core in cores) < workers:
        share += 1
    return workers, int(10_000 / share) / 10_000
