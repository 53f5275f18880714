"""The executor on a Ray cluster: workers that hold what a task opened, with back-pressure and restarts."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
import ray.exceptions

from demure.cluster.executor import MeetingPoint, Part, Result, Task
from demure.cluster.plan import plan_workers
from demure.cluster.ray_cluster import connection
from demure.cluster.worker import SentTask, Worker
from demure.errors import DemureError, MachineError
from demure.progress import Listener, Notice, silent

RESTARTS = 100  # of a worker in all
RETRIES = 3  # of a part whose worker was lost
_QUEUED = 2  # parts that a worker has at a time: the next is there when it is ready
_WINDOW = 4  # parts per worker that may be under way or wait for an earlier one
_NOTICE_SECONDS = 15.0


@contextmanager
def ray_executor(workers: int | None, device: str, listener: Listener) -> Iterator[RayExecutor]:
    """Connect to the cluster and start workers, which end with the block; arguments as in ``open_executor``.

    Raises ``MachineError`` if the cluster cannot be used.
    """
    with connection():
        alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        nodes = [(float(node.get("CPU", 0)), float(node.get("GPU", 0))) for node in alive]
        on_gpus = device != "cpu" and any(gpus >= 1 for _, gpus in nodes)
        if device.startswith("cuda") and not on_gpus:
            raise MachineError("the cluster has no GPU", where=f"--device {device}", remedy="use --device cpu or auto")
        n, cores = plan_workers(nodes, workers, gpus=on_gpus)
        n_gpus = sum(int(gpus) for _, gpus in nodes)
        if on_gpus and n > n_gpus:
            problem = f"is {n}, but the cluster has {n_gpus} GPUs"
            raise MachineError(problem, where="--ray-workers", remedy="use fewer, or --device cpu")
        yield RayExecutor(n, cores, on_gpus, listener)


class RayExecutor:
    """``workers`` processes of ``cores`` cores on a cluster, with a GPU each where ``on_gpus``."""

    is_local = False

    def __init__(self, workers: int, cores: float, on_gpus: bool, listener: Listener) -> None:
        self.workers, self.cores, self.on_gpus, self._listener = workers, cores, on_gpus, listener
        actor = ray.remote(Worker).options(
            num_cpus=cores, num_gpus=float(on_gpus), max_restarts=RESTARTS, max_task_retries=RETRIES
        )
        self._actors = [actor.remote(max(1, int(cores))) for _ in range(workers)]
        self._starting = [worker.ready.remote() for worker in self._actors]
        self._numbers = itertools.count()

    def map(self, task: Task[Part, Result], parts: Iterable[Part], listener: Listener = silent) -> Iterator[Result]:
        """Yield the results in the order of the parts; as in ``Executor``."""
        self._wait_for_a_worker()
        sent = ray.put(SentTask.of(next(self._numbers), task))
        remaining = iter(parts)
        under_way: deque[Any] = deque()  # results in the order of the parts
        worker_of: dict[Any, int] = {}  # results that are not there yet
        load = [0] * self.workers
        exhausted = False
        while True:
            while not exhausted and len(under_way) < _WINDOW * self.workers and min(load) < _QUEUED:
                try:
                    part = next(remaining)
                except StopIteration:
                    exhausted = True
                    break
                number = load.index(min(load))
                reference = self._actors[number].work.remote(sent, part)
                under_way.append(reference)
                worker_of[reference] = number
                load[number] += 1
            if not under_way:
                return
            for reference in ray.wait(list(worker_of), num_returns=1)[0] if worker_of else []:
                load[worker_of.pop(reference)] -= 1
            while under_way and under_way[0] not in worker_of:
                yield result_of(under_way.popleft())

    def run_together(
        self,
        task: Task[Part, Result],
        parts: Callable[[int, MeetingPoint], Sequence[Part]],
        lost: type[DemureError],
    ) -> list[Result]:
        """Return the results of parts that need each other; as in ``Executor``."""
        self._wait_for_a_worker()
        sent = ray.put(SentTask.of(next(self._numbers), task))
        for attempt in itertools.count():
            meeting = result_of(self._actors[0].meeting_point.remote())
            pending = references = [
                worker.work.options(max_task_retries=0).remote(sent, part)
                for worker, part in zip(self._actors, parts(attempt, meeting), strict=True)
            ]
            try:
                while pending:
                    finished, pending = ray.wait(pending, num_returns=1)
                    result_of(finished[0])
                return [result_of(reference) for reference in references]
            except (WorkerLost, lost) as error:
                if attempt == RETRIES:
                    raise
                text = f"a worker was lost ({error}): all start again from the last checkpoint"
                self._listener(Notice("starting again", 0, text=text))
            for worker in self._actors:
                ray.kill(worker, no_restart=False)
            for worker in self._actors:
                result_of(worker.ready.remote())
        raise AssertionError

    def _wait_for_a_worker(self) -> None:
        """Wait until a worker has started, with a notice if that takes long. Raises ``MachineError`` if it cannot."""
        started, _ = ray.wait(self._starting, num_returns=1, timeout=_NOTICE_SECONDS)
        if not started:
            text = f"waiting for {self.cores:g} free cores on the cluster"
            self._listener(Notice("waiting for the cluster", 0, text=text))
            started, _ = ray.wait(self._starting, num_returns=1)
        result_of(started[0])


class WorkerLost(MachineError):
    """A worker ended more often than its part is tried again."""


def result_of(reference: Any) -> Any:
    """Return a result. Raises what the work raised, and ``MachineError`` if its worker was lost too often."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, BaseException):
            raise cause from None
        raise
    except ray.exceptions.RayError as error:
        text = " ".join(str(error).split())
        if "No module named 'demure'" in text:
            raise MachineError(
                "demure is not installed on the workers",
                where="--on ray",
                remedy="install the same demure on all machines of the cluster",
            ) from error
        problem = "a worker was lost, and so it was when its part was tried again"
        if isinstance(error, ray.exceptions.OutOfMemoryError) or "memory" in text[:500].lower():
            problem += ", out of memory"
        remedy = "give each more memory with fewer --ray-workers; the logs of Ray say how it ended"
        raise WorkerLost(problem, where="--on ray", remedy=remedy) from error
