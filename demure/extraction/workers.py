"""Images decoded and prepared beside the encoder, by processes that can be killed: no file can hang or crash a run."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import mmap
import multiprocessing
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np

from demure.extraction.decoding import Unusable

AHEAD = 2
TRIES = 2
Group = tuple[Any, Sequence[int]]
Made = tuple[Any, list[int], Any, list[tuple[int, str, str]]]


@dataclass
class _Task:
    """Input ``k`` of group ``turn`` goes to ``slot``."""

    turn: int
    slot: int
    k: int
    tries: int = 0


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    tasks: deque[_Task] = field(default_factory=deque)


class Decoders:
    """``run`` gives, for groups of inputs, what ``make`` gives for each, as one array per group.

    ``make(k)`` is called in ``count`` processes that are forked from this one, and returns arrays like ``like`` or
    raises ``Unusable``. A process that dies or takes more than ``seconds`` for one input is replaced; an input that did
    so twice is given up.
    """

    def __init__(self, make: Callable[[int], Any], like: np.ndarray, size: int, count: int, seconds: float) -> None:
        self.make, self.like, self.size, self.seconds = make, like, size, seconds
        slots = (AHEAD + 1) * size
        self.memory = mmap.mmap(-1, max(1, slots * like.nbytes))
        self.slots: np.ndarray = np.frombuffer(self.memory, like.dtype, slots * like.size).reshape(slots, *like.shape)
        # When each worker began what it is at, on the machine's monotonic clock; 0 where it waits.
        self.since: np.ndarray = np.frombuffer(mmap.mmap(-1, 8 * count), np.float64)
        self.context = multiprocessing.get_context("fork")
        self.workers = [self._start(w) for w in range(count)]
        self.turns = 0
        self.left: dict[int, int] = {}
        self.problems: dict[int, dict[int, tuple[str, str]]] = {}

    def run(self, groups: Iterator[Group]) -> Generator[Made, None, None]:
        """(tag, inputs that can be used, their array, (input, kind, value) of the others) of each (tag, inputs).

        The array is overwritten when the next one is asked for.
        """
        sent: deque[tuple[int, Group]] = deque()
        try:
            while True:
                while len(sent) <= AHEAD:
                    group = next(groups, None)
                    if group is None:
                        break
                    sent.append((self._send(group[1]), group))
                if not sent:
                    return
                turn, (tag, inputs) = sent.popleft()
                self._await(turn)
                bad = self.problems.pop(turn)
                good = [row for row, k in enumerate(inputs) if k not in bad]
                first = turn % (AHEAD + 1) * self.size
                array = self.slots[first : first + len(inputs)]
                yield (
                    tag,
                    [inputs[row] for row in good],
                    array if not bad else array[good],
                    [(k, *bad[k]) for k in inputs if k in bad],
                )
        finally:
            self.close()

    def close(self) -> None:
        """End the processes."""
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.process.join()
            worker.pipe.close()
        self.workers = []

    def _send(self, inputs: Sequence[int]) -> int:
        turn, self.turns = self.turns, self.turns + 1
        self.left[turn], self.problems[turn] = len(inputs), {}
        first = turn % (AHEAD + 1) * self.size
        tasks = [_Task(turn, first + row, k) for row, k in enumerate(inputs)]
        for w, worker in enumerate(self.workers):
            self._give(worker, tasks[w :: len(self.workers)])
        return turn

    def _give(self, worker: _Worker, tasks: list[_Task]) -> None:
        worker.tasks.extend(tasks)
        # One that has just died: its tasks go to the next when that is noticed.
        with contextlib.suppress(OSError):
            worker.pipe.send_bytes(json.dumps([(task.slot, task.k) for task in tasks]).encode())

    def _await(self, turn: int) -> None:
        while self.left[turn]:
            ready = wait([worker.pipe for worker in self.workers], timeout=min(0.2, self.seconds))
            for w, worker in enumerate(self.workers):
                if worker.pipe in ready and not self._take(worker):
                    self._replace(w, "the decoder crashed", f"with status {worker.process.exitcode}")
                elif 0 < self.since[w] < time.monotonic() - self.seconds:
                    self._replace(w, "takes too long", f"more than {self.seconds:g} s")
        del self.left[turn]

    def _take(self, worker: _Worker) -> bool:
        try:
            problem = json.loads(worker.pipe.recv_bytes())
        except (EOFError, OSError):
            worker.process.join()
            return False
        task = worker.tasks.popleft()
        self._done(task, problem)
        return True

    def _done(self, task: _Task, problem: list[str] | None) -> None:
        if problem:
            self.problems[task.turn][task.k] = (problem[0], problem[1])
        self.left[task.turn] -= 1

    def _replace(self, w: int, kind: str, value: str) -> None:
        worker = self.workers[w]
        worker.process.kill()
        while self._take(worker):  # what it had finished before
            pass
        worker.pipe.close()
        tasks = list(worker.tasks)
        if tasks:
            tasks[0].tries += 1
            if tasks[0].tries >= TRIES:
                self._done(tasks.pop(0), [kind, value])
        self.workers[w] = self._start(w)
        self._give(self.workers[w], tasks)

    def _start(self, w: int) -> _Worker:
        ours, theirs = self.context.Pipe()
        self.since[w] = 0
        others = [worker.pipe for worker in getattr(self, "workers", [])]
        process = self.context.Process(target=self._work, args=(w, theirs, [ours, *others]), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)

    def _work(self, w: int, pipe: Connection, others: list[Connection]) -> None:
        """In the child: answer until there is nobody left to ask."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if sys.platform == "linux":  # to be killed when the parent is
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        gc.freeze()  # a collection would copy the pages that are shared with the parent
        for other in others:
            other.close()
        with open(os.devnull, "w") as nowhere:  # decoders written in C talk
            os.dup2(nowhere.fileno(), 2)
        torch = sys.modules.get("torch")
        if torch is not None:
            torch.set_num_threads(1)
        with contextlib.suppress(EOFError, OSError):
            while True:
                for slot, k in json.loads(pipe.recv_bytes()):
                    self.since[w] = time.monotonic()
                    problem = self._fill(slot, k)
                    self.since[w] = 0
                    pipe.send_bytes(json.dumps(problem).encode())
        os._exit(0)

    def _fill(self, slot: int, k: int) -> list[str] | None:
        try:
            made = np.asarray(self.make(k))
            if made.shape != self.like.shape:
                return ["cannot be prepared", f"becomes {made.shape}, others {self.like.shape}"]
            self.slots[slot] = made
        except Unusable as problem:
            return [problem.kind, problem.value]
        except MemoryError:
            return ["takes too much memory", ""]
        except Exception as error:  # a process that ends would cost its other inputs another try
            return ["cannot be prepared", f"{type(error).__name__}: {error}"[:200]]
        return None


class Alone:
    """``Decoders`` where processes cannot be forked: everything in this process, and nobody to stop it."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make

    def run(self, groups: Iterator[Group]) -> Generator[Made, None, None]:
        """See ``Decoders.run``."""
        for tag, inputs in groups:
            good, made, bad = [], [], []
            for k in inputs:
                try:
                    made.append(np.asarray(self.make(k)))
                    good.append(k)
                except Unusable as problem:
                    bad.append((k, problem.kind, problem.value))
            yield tag, good, np.stack(made) if made else [], bad


def decoders(make: Callable[[int], Any], like: np.ndarray, size: int, count: int, seconds: float) -> Decoders | Alone:
    """``Decoders``, or what can stand in for them here."""
    if sys.platform == "linux":
        return Decoders(make, like, size, count, seconds)
    return Alone(make)


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
