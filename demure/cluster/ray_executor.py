"""The executor on a Ray cluster: workers that hold what a task opened, with back-pressure and restarts."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from demure.cluster import ray_helpers
from demure.cluster.executor import LOCAL, Executor, MeetingPoint, Part, Result, Task
from demure.cluster.plan import Room, plan_workers, with_helpers
from demure.cluster.ray_cluster import connection
from demure.cluster.ray_helpers import RayHelpers
from demure.cluster.ray_results import WorkerLost, result_of
from demure.cluster.worker import SentTask, Worker
from demure.errors import DemureError, MachineError
from demure.progress import Listener, Notice, silent

RESTARTS = 100  # of a worker in all
RETRIES = 3  # of a part whose worker was lost
_QUEUED = 2  # parts that a worker has at a time: the next is there when it is ready
_WINDOW = 4  # parts per worker that may be under way or wait for an earlier one
_NOTICE_SECONDS = 15.0
_NOTHING: Any = object()


@contextmanager
def ray_executor(
    workers: int | None, device: str, listener: Listener, *, helpers: bool = False
) -> Iterator[RayExecutor]:
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
        room = with_helpers(nodes, n, cores, on_gpus=on_gpus) if helpers else Room(cores)
        yield RayExecutor(n, room, on_gpus, listener)


@dataclass
class _SentPart:
    """A part, the number of the ``worker`` that does it, how many were lost with it, and what came of it."""

    part: Any
    worker: int = -1
    losses: int = 0
    finished: bool = False
    result: Any = None
    error: Exception | None = None


class RayExecutor:
    """``workers`` processes on a cluster, each with the cores of ``room``, and with a GPU where ``on_gpus``."""

    is_local = False

    def __init__(self, workers: int, room: Room, on_gpus: bool, listener: Listener) -> None:
        self.workers, self.room, self.on_gpus, self._listener = workers, room, on_gpus, listener
        self.cores = cores = room.cores
        # Calls wait for a worker that is started again; parts go elsewhere (``max_task_retries`` of ``work``).
        actor = ray.remote(Worker).options(
            num_cpus=cores, num_gpus=float(on_gpus), max_restarts=RESTARTS, max_task_retries=-1
        )
        self._actors = [actor.remote(max(1, int(cores))) for _ in range(workers)]
        self._starting = [worker.ready.remote() for worker in self._actors]
        self._numbers = itertools.count()
        self._sent: tuple[Task[Any, Any], Any] | None = None

    def _send(self, task: Task[Any, Any]) -> Any:
        """Return the reference of the task in the object store. One that comes again is not copied again."""
        if self._sent is None or self._sent[0] is not task:
            self._sent = None  # so that there is room
            self._sent = task, ray.put(SentTask.of(next(self._numbers), task))
        return self._sent[1]

    def helpers(self, processes: int | None = None) -> Executor:
        """Return the executor for parts of a part; as in ``Executor``."""
        if not self.room.helpers:
            return LOCAL
        return RayHelpers(processes or self.room.helpers, self.room.helper_cores, ray_helpers.PATIENCE)

    def map(self, task: Task[Part, Result], parts: Iterable[Part], listener: Listener = silent) -> Iterator[Result]:
        """Yield the results in the order of the parts; as in ``Executor``.

        The part of a lost worker goes to the next that is ready, so that a machine that does not come back is missed by
        its share of the work alone.
        """
        self._wait_for_a_worker()
        sent = self._send(task)
        remaining = iter(parts)
        in_order: deque[_SentPart] = deque()
        again: deque[_SentPart] = deque()
        under_way: dict[Any, _SentPart] = {}
        starting: dict[Any, int] = {actor.ready.remote(): number for number, actor in enumerate(self._actors)}
        load: dict[int, int] = {}  # of the workers that are ready
        exhausted = False
        while True:
            # While others start, none gets a second part: it might wait for long behind the first.
            while load and min(load.values()) < (1 if starting else _QUEUED):
                if not again and not exhausted and len(in_order) < _WINDOW * self.workers:
                    part = next(remaining, _NOTHING)
                    exhausted = part is _NOTHING
                    if not exhausted:
                        in_order.append(_SentPart(part))
                        again.append(in_order[-1])
                if not again:
                    break
                entry = again.popleft()
                entry.worker = min(load, key=load.__getitem__)
                load[entry.worker] += 1
                under_way[self._actors[entry.worker].work.options(max_task_retries=0).remote(sent, entry.part)] = entry
            if exhausted and not in_order:
                return
            reference = self._wait([*under_way, *starting], idle=not under_way)
            if reference in starting:
                number = starting.pop(reference)
                try:
                    result_of(reference)
                    load[number] = 0
                except WorkerLost:  # for good: it was started too often
                    if not load and not starting:
                        raise
                continue
            entry = under_way.pop(reference)
            if entry.worker in load:
                load[entry.worker] = max(0, load[entry.worker] - 1)
            try:
                entry.result = result_of(reference)
            except WorkerLost as error:
                entry.losses += 1
                entry.error = error
                load.pop(entry.worker, None)
                if entry.worker not in starting.values():
                    starting[self._actors[entry.worker].ready.remote()] = entry.worker
            except Exception as error:
                entry.error = error
            entry.finished = not isinstance(entry.error, WorkerLost) or entry.losses > RETRIES
            if not entry.finished:
                entry.error = None
                again.append(entry)
            while in_order and in_order[0].finished:
                first = in_order.popleft()
                if first.error is not None:
                    raise first.error
                yield first.result

    def _wait(self, references: Sequence[Any], *, idle: bool) -> Any:
        """Return the first reference that is there; where no worker is (``idle``), with a notice if that takes long."""
        ready, _ = ray.wait(references, num_returns=1, timeout=_NOTICE_SECONDS if idle else None)
        if not ready:
            text = f"waiting for {self.cores:g} free cores on the cluster"
            self._listener(Notice("waiting for the cluster", 0, text=text))
            ready, _ = ray.wait(references, num_returns=1)
        return ready[0]

    def run_together(
        self,
        task: Task[Part, Result],
        parts: Callable[[int, MeetingPoint], Sequence[Part]],
        lost: type[DemureError],
    ) -> list[Result]:
        """Return the results of parts that need each other; as in ``Executor``."""
        self._wait_for_a_worker()
        sent = self._send(task)
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
            for reference in [worker.ready.remote() for worker in self._actors]:
                result_of(self._wait([reference], idle=True))
        raise AssertionError

    def _wait_for_a_worker(self) -> None:
        """Wait until a worker has started. Raises ``MachineError`` if it cannot."""
        result_of(self._wait(self._starting, idle=True))
