"""How many threads compute: no more than the cores that this process may use, and one where operators are small.

Threads in excess wait for each other by spinning, at each of thousands of operators: on a busy machine a training took
minutes instead of seconds.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def usable_cores() -> int:
    """Return how many cores this process may use: by its affinity, and by the quota of its container."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def prepare_threads() -> None:
    """Set the environment of NumPy's and torch's threads, which has an effect until these are loaded.

    Threads that have nothing to do wait passively, and a container's quota limits their number; libraries see the cores
    of the whole host. What the user has set stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if not os.environ.get("OMP_NUM_THREADS") and _quota() is not None:
        os.environ["OMP_NUM_THREADS"] = str(usable_cores())


@contextmanager
def one_thread() -> Iterator[None]:
    """Within the context, torch computes in this thread alone; also a decorator."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _quota() -> float | None:
    """Return the cores of CPU time that the control group allows, None if it sets no limit; versions 2 and 1."""
    try:
        if (CGROUPS / "cpu.max").is_file():
            quota, period = (CGROUPS / "cpu.max").read_text().split()
        else:
            quota, period = ((CGROUPS / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return float(quota) / float(period) if quota != "max" and float(quota) > 0 and float(period) > 0 else None
    except (OSError, ValueError):
        return None
