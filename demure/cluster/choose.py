"""`--on`: where a stage runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from demure.cluster.executor import LOCAL, Executor
from demure.errors import DemureError, MachineError
from demure.progress import Listener, silent

ENGINES = ("local", "ray")


@contextmanager
def open_executor(
    on: str = "local",
    *,
    workers: int | None = None,
    device: str = "auto",
    listener: Listener = silent,
    helpers: bool = False,
) -> Iterator[Executor]:
    """Yield the executor of the engine ``on``; one on a cluster ends its workers with the block.

    ``workers``: their number on a cluster; None chooses it by the cores and GPUs. ``device``: where they compute; each
    takes a GPU unless that is ``cpu``. With ``helpers``, the workers leave cores for ``Executor.helpers``.

    Raises ``DemureError`` for an unknown engine, ``MachineError`` if Ray is not installed or its cluster cannot be
    used.
    """
    check_engine(on, workers)
    if on == "local":
        yield LOCAL
        return
    import_ray()
    from demure.cluster.ray_executor import ray_executor

    with ray_executor(workers, device, listener, helpers=helpers) as executor:
        yield executor


def check_engine(on: str, workers: int | None) -> None:
    """Raise ``DemureError`` for an unknown engine, and for a number of workers without a cluster."""
    if on not in ENGINES:
        raise DemureError(f"unknown engine {on!r}", where="--on", remedy=f"use {' or '.join(ENGINES)}")
    if on == "local" and workers is not None:
        raise DemureError("is about the workers of a cluster", where="--ray-workers", remedy="add --on ray")


def import_ray() -> None:
    """Raise ``MachineError`` if Ray is not installed, or cannot be imported."""
    try:
        import ray  # noqa: F401
    except ImportError as error:
        missing = error.name == "ray"
        problem = "the package ray is not installed" if missing else f"the package ray cannot be imported ({error})"
        raise MachineError(problem, where="--on ray", remedy="pip install 'demure[ray]'") from error
