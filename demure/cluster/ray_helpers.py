"""Parts of a part, done by Ray tasks of one core anywhere on the cluster while a worker goes on with their results."""

from __future__ import annotations

import itertools
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import ray

from demure.cluster.executor import Executor, MeetingPoint, Part, Result, Task
from demure.cluster.ray_results import result_of
from demure.cluster.worker import SentTask, Worker
from demure.errors import DemureError
from demure.progress import Listener, silent

RETRIES = 3  # of a part whose process or machine was lost, and of a result that was lost with its machine
PATIENCE = 60.0  # seconds; longer than parts usually take
_AHEAD = 2  # parts for each process that are under way, or wait for an earlier one or for the caller
_worker: Worker | None = None  # of a process that does parts


@dataclass(frozen=True)
class RayHelpers:
    """Does parts by ``workers`` Ray tasks of ``cores`` each, wherever they are free; for use within a worker.

    If the worker is lost, its tasks end with it. A part that is not done ``patience`` seconds after it was needed is
    done by the worker itself: after the loss of a machine, other workers may have taken the last free cores.
    """

    workers: int
    cores: float
    patience: float
    is_local = False

    def helpers(self, processes: int | None = None) -> Executor:
        """Return an executor of ``processes``."""
        return replace(self, workers=processes or self.workers)

    def map(self, task: Task[Part, Result], parts: Iterable[Part], listener: Listener = silent) -> Iterator[Result]:
        """Yield the results in the order of the parts; as in ``Executor``.

        At most ``_AHEAD`` parts for each process are taken before their results are asked for.
        """
        sent = ray.put(SentTask.of(uuid.uuid4().int, task))
        do_part = ray.remote(_do_part).options(num_cpus=self.cores, max_retries=RETRIES)
        remaining = iter(parts)
        in_order: deque[tuple[Any, Part]] = deque()
        patience = self.patience
        while True:
            room = _AHEAD * self.workers - len(in_order)
            in_order.extend((do_part.remote(sent, part), part) for part in itertools.islice(remaining, room))
            if not in_order:
                return
            reference, part = in_order.popleft()
            if ray.wait([reference], timeout=patience)[0]:
                patience = self.patience
                yield result_of(reference)
            else:
                ray.cancel(reference)
                began = time.monotonic()
                result = task.work(part, listener)
                patience = time.monotonic() - began  # as long as a helper that has begun may need for the next
                yield result

    def run_together(
        self,
        task: Task[Part, Result],
        parts: Callable[[int, MeetingPoint], Sequence[Part]],
        lost: type[DemureError],
    ) -> list[Result]:
        raise AssertionError("helpers do not wait for each other")


def _do_part(sent: SentTask, part: Any) -> Any:
    """Return the result of a part, in a process that keeps what the task has opened."""
    global _worker
    _worker = _worker or Worker(1)
    return _worker.work(sent, part)
