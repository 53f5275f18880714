"""How many workers a cluster gets, and how many cores each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_CORES_PER_WORKER = 4


@dataclass(frozen=True)
class Room:
    """The ``cores`` of each worker; ``helpers``: how many other processes of ``helper_cores`` there is room for, for
    each worker."""

    cores: float
    helpers: int = 0
    helper_cores: float = 0.0


def plan_workers(nodes: Sequence[tuple[float, float]], workers: int | None, *, gpus: bool) -> tuple[int, float]:
    """Return the number of workers and the cores of each, so that all of them fit at the same time.

    ``nodes``: the cores and the GPUs of each machine; with ``gpus``, a worker takes a GPU, if there is any. Without a
    number of ``workers``, there is one for each GPU, or one for each four cores and at least one on every machine.
    """
    cores = [core for core, _ in nodes if core > 0] or [1.0]
    n_gpus = int(sum(gpu for _, gpu in nodes)) if gpus else 0
    if workers is None:
        workers = n_gpus or sum(max(1, int(core) // _CORES_PER_WORKER) for core in cores)
    # The cores of each machine, and the most workers that it can have.
    places = [(core, int(gpu)) for core, gpu in nodes if core > 0]
    if sum(most for _, most in places) < workers or not n_gpus:
        places = [(core, workers) for core in cores]
    for size in range(max(1, int(sum(cores)) // workers), 0, -1):
        if sum(min(int(core) // size, most) for core, most in places) >= workers:
            return workers, float(size)
    # More workers than cores: shares of a core, of which Ray counts ten thousandths.
    share = 1
    while sum(min(int(core * share), most) for core, most in places) < workers:
        share += 1
    return workers, int(10_000 / share) / 10_000


def with_helpers(nodes: Sequence[tuple[float, float]], workers: int, cores: float, *, on_gpus: bool) -> Room:
    """Return how workers of ``cores`` leave room for other processes; ``nodes`` as in ``plan_workers``.

    A worker on a GPU keeps one core, another leaves one; of less than two cores it leaves half. A helper takes one
    core, or half of a worker's where the workers could leave no machine a whole core.
    """
    own = int(5_000 * cores) / 10_000 if cores < 2 else 1.0 if on_gpus else cores - 1
    whole = cores >= 2 or any(core - own * min(workers, int(core / own)) >= 1 for core, _ in nodes)
    helper = 1.0 if whole else own
    left = sum(core for core, _ in nodes) - workers * own
    return Room(own, max(1, int(left / helper + 1e-6) // workers), helper)
