"""Decode and prepare files in worker processes beside the encoder; no file can hang or crash a run.

``shard_encoder`` starts the workers; they call ``decoding`` and the encoder's ``prepare``. The whole path of an image
is in ``extract``.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import logging
import math
import mmap
import multiprocessing
import os
import re
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

import numpy as np

from demure.extraction.inputs import InputProblem
from demure.images.unusable import UnusableInput

AHEAD = 2  # batches that are decoded while the encoder works on one
TAKES_TOO_LONG = "takes too long"
TIME_LIMIT = re.compile(r"more than ([\d.e+-]+) s\)?$")  # in the value of such a problem
# Forked processes start at once and share the encoder; macOS's libraries do not survive a fork, and Windows has none.
START_METHOD = "fork" if sys.platform == "linux" else "spawn"
TRIES = 2  # of an input that kills its process or takes too long
logger = logging.getLogger(__name__)
Batch = tuple[Any, Sequence[Any]]
"""A tag of the caller, and the inputs of a batch: numbers, or what JSON can hold."""


class DecodedBatch(NamedTuple):
    """A batch for the encoder.

    ``tag`` is the caller's; ``arrays`` (n, ...) belong to the usable ``inputs`` (n,), ``problems`` to the other inputs.
    """

    tag: Any
    inputs: list[Any]
    arrays: Any
    problems: list[InputProblem]


@dataclass
class _Task:
    """Input ``k`` of batch number ``batch`` is to be decoded into ``slot`` of the shared memory."""

    batch: int
    slot: int
    k: Any
    tries: int = 0


@dataclass
class _Worker:
    process: Any
    pipe: Connection
    tasks: deque[_Task] = field(default_factory=deque)


@dataclass(frozen=True)
class PreparedFiles:
    """Input k as the encoder reads it; worker processes get a copy of both parts.

    ``load`` returns image, sound or video k, or raises ``UnusableInput``; ``encoder`` prepares it.
    """

    load: Callable[[Any], Any]
    encoder: Any

    def __call__(self, k: Any) -> Any:
        """Return the array. Raises ``UnusableInput``."""
        content = self.load(k)
        try:
            return self.encoder.prepare(content)
        except UnusableInput:  # audio and video are decoded only here
            raise
        except Exception as error:
            size = f"{content.width} x {content.height}: " if hasattr(content, "width") else ""
            raise UnusableInput("cannot be prepared", f"{size}{error}"[:200]) from error


class DecoderPool:
    """Worker processes that decode batches of inputs into shared memory.

    A process that dies or takes more than ``seconds`` for one input is replaced; an input to which this happens twice
    is given up.
    """

    def __init__(
        self,
        decode: Callable[[Any], Any],
        template: np.ndarray,
        size: int,
        count: int,
        seconds: float,
        start_method: str | None = None,
    ) -> None:
        """Start the workers.

        Args:
            decode: returns input k as an array, or raises ``UnusableInput``; called in the workers.
            template: an array of the shape and type that ``decode`` returns.
            size: most inputs of a batch.
            count: number of processes.
            seconds: time limit for one input.
            start_method: of multiprocessing; by default ``START_METHOD``. Processes that are not forked get ``decode``
                as a pickle.
        """
        self.size, self.seconds = size, seconds
        self.context: Any = multiprocessing.get_context(start_method or START_METHOD)
        # A ring of AHEAD + 1 batches: one with the encoder, the others being filled.
        slots = self._share((AHEAD + 1) * size * template.nbytes)
        clock = self._share(8 * count)
        self.decoding = _Decoding(decode, slots, template.shape, template.dtype, clock)
        self.slots, self.since = self.decoding.slots, self.decoding.since
        self.workers = [self._start(w) for w in range(count)]
        self.sent = 0
        self.remaining: dict[int, int] = {}
        self.problems: dict[int, dict[int, tuple[str, str]]] = {}  # by batch and slot

    def run(self, batches: Iterator[Batch]) -> Generator[DecodedBatch, None, None]:
        """Yield each batch decoded, in order. Its arrays are overwritten when the next batch is asked for."""
        queue: deque[tuple[int, Batch]] = deque()
        try:
            while True:
                while len(queue) <= AHEAD:
                    batch = next(batches, None)
                    if batch is None:
                        break
                    queue.append((self._send(batch[1]), batch))
                if not queue:
                    return
                number, batch = queue.popleft()
                yield self._receive_batch(number, batch)
        finally:
            self.close()

    def decode(self, inputs: Sequence[Any]) -> DecodedBatch:
        """Return one batch decoded; the processes stay. Its arrays are overwritten later."""
        return self._receive_batch(self._send(inputs), (None, inputs))

    def close(self) -> None:
        """Kill the processes."""
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.process.join()
            worker.pipe.close()
        self.workers = []

    def _send(self, inputs: Sequence[Any]) -> int:
        """Distribute the inputs of a batch among the workers; return the number of the batch."""
        number, self.sent = self.sent, self.sent + 1
        self.remaining[number], self.problems[number] = len(inputs), {}
        first = number % (AHEAD + 1) * self.size
        tasks = [_Task(number, first + row, k) for row, k in enumerate(inputs)]
        for w, worker in enumerate(self.workers):
            self._assign(worker, tasks[w :: len(self.workers)])
        return number

    def _receive_batch(self, number: int, batch: Batch) -> DecodedBatch:
        """Wait for a batch that was sent."""
        self._await(number)
        tag, inputs = batch
        problems = self.problems.pop(number)
        first = number % (AHEAD + 1) * self.size
        usable = [row for row in range(len(inputs)) if first + row not in problems]
        arrays = self.slots[first : first + len(inputs)]
        return DecodedBatch(
            tag,
            [inputs[row] for row in usable],
            arrays if not problems else arrays[usable],
            [InputProblem(k, *problems[slot]) for slot, k in enumerate(inputs, first) if slot in problems],
        )

    def _assign(self, worker: _Worker, tasks: list[_Task]) -> None:
        worker.tasks.extend(tasks)
        # A worker that has just died raises: its tasks go to its successor when the death is noticed.
        with contextlib.suppress(OSError):
            worker.pipe.send_bytes(json.dumps([(task.slot, task.k) for task in tasks]).encode())

    def _await(self, number: int) -> None:
        """Wait until batch ``number`` is decoded; replace workers that died or take too long."""
        while self.remaining[number]:
            ready = wait([worker.pipe for worker in self.workers], timeout=min(0.2, self.seconds))
            for w, worker in enumerate(self.workers):
                if worker.pipe in ready and not self._receive(worker):
                    self._replace(w, "the decoder crashed", f"with status {worker.process.exitcode}")
                elif 0 < self.since[w] < time.monotonic() - self.seconds:
                    self._replace(w, TAKES_TOO_LONG, f"more than {self.seconds:g} s")
        del self.remaining[number]

    def _receive(self, worker: _Worker) -> bool:
        """Receive the result of one task; return False if the worker is dead."""
        try:
            problem = json.loads(worker.pipe.recv_bytes())
        except (EOFError, OSError):
            worker.process.join()
            return False
        task = worker.tasks.popleft()
        self._finish(task, problem)
        return True

    def _finish(self, task: _Task, problem: list[str] | None) -> None:
        if problem:
            self.problems[task.batch][task.slot] = (problem[0], problem[1])
        self.remaining[task.batch] -= 1

    def _replace(self, w: int, kind: str, value: str) -> None:
        """Replace worker ``w`` by a new process with its tasks, without the first if that has had its ``TRIES``."""
        worker = self.workers[w]
        worker.process.kill()
        while self._receive(worker):  # results that it had sent before
            pass
        worker.pipe.close()
        tasks = list(worker.tasks)
        if tasks:
            tasks[0].tries += 1
            if tasks[0].tries >= TRIES:
                self._finish(tasks.pop(0), [kind, value])
        self.workers[w] = self._start(w)
        self._assign(self.workers[w], tasks)

    def _share(self, size: int) -> Any:
        """Return memory of ``size`` bytes that the workers share: anonymous where they are forked, else a file."""
        forked = self.context.get_start_method() == "fork"
        return mmap.mmap(-1, max(1, size)) if forked else self.context.RawArray("b", max(1, size))

    def _start(self, w: int) -> _Worker:
        ours, theirs = self.context.Pipe()
        self.since[w] = 0
        # A forked process has copies of the pipes of all workers, and would keep them open.
        forked = self.context.get_start_method() == "fork"
        others = [ours, *(worker.pipe for worker in getattr(self, "workers", []))] if forked else []
        process = self.context.Process(target=self.decoding, args=(w, theirs, others), daemon=True)
        process.start()
        theirs.close()
        return _Worker(process, ours)


@dataclass(frozen=True)
class _Decoding:
    """What a worker needs: ``decode``, and the memory that it shares with the parent."""

    decode: Callable[[Any], Any]
    memory: Any
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    clock: Any

    @property
    def slots(self) -> np.ndarray:
        """Arrays of ``shape``, one below the other, in the shared memory."""
        slots = len(self.memory) // max(1, math.prod(self.shape) * self.dtype.itemsize)
        return np.frombuffer(self.memory, self.dtype, slots * math.prod(self.shape)).reshape(slots, *self.shape)

    @property
    def since(self) -> np.ndarray:
        """When each worker began its current input, on the machine's monotonic clock; 0 where it waits."""
        return np.frombuffer(self.clock, np.float64)

    def __call__(self, w: int, pipe: Connection, others: list[Connection]) -> None:
        """Decode inputs, as process ``w``, until the parent closes the pipe."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if sys.platform == "linux":  # end this process when the parent is killed
            ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        gc.freeze()  # a collection would copy the pages that are shared with the parent
        for other in others:
            other.close()
        with open(os.devnull, "w") as null:  # decoders written in C print warnings
            os.dup2(null.fileno(), 2)
        torch = sys.modules.get("torch")
        if torch is not None:
            torch.set_num_threads(1)
        slots, since = self.slots, self.since
        with contextlib.suppress(EOFError, OSError):
            while True:
                for slot, k in json.loads(pipe.recv_bytes()):
                    since[w] = time.monotonic()
                    problem = self._fill(slots, slot, k)
                    since[w] = 0
                    pipe.send_bytes(json.dumps(problem).encode())
        os._exit(0)

    def _fill(self, slots: np.ndarray, slot: int, k: Any) -> list[str] | None:
        """Decode input k into ``slot``; return the kind and value of a problem, or None."""
        try:
            array = np.asarray(self.decode(k))
            if array.shape != self.shape:
                return ["cannot be prepared", f"becomes {array.shape}, others {self.shape}"]
            slots[slot] = array
        except UnusableInput as problem:
            return [problem.kind, problem.value]
        except MemoryError:
            return ["takes too much memory", ""]
        except Exception as error:  # if the process ended, its other inputs would lose a try
            return ["cannot be prepared", f"{type(error).__name__}: {error}"[:200]]
        return None


class SerialDecoder:
    """Decodes in this process, without time limit, where processes are not forked and ``decode`` cannot be pickled."""

    def __init__(self, decode: Callable[[Any], Any]) -> None:
        self.decode = decode

    def run(self, batches: Iterator[Batch]) -> Generator[DecodedBatch, None, None]:
        """Yield each batch decoded, in order."""
        for tag, inputs in batches:
            usable, arrays, problems = [], [], []
            for k in inputs:
                try:
                    arrays.append(np.asarray(self.decode(k)))
                    usable.append(k)
                except UnusableInput as problem:
                    problems.append(InputProblem(k, problem.kind, problem.value))
            yield DecodedBatch(tag, usable, np.stack(arrays) if arrays else [], problems)


def open_decoders(
    decode: Callable[[Any], Any], template: np.ndarray, size: int, count: int, seconds: float
) -> DecoderPool | SerialDecoder:
    """Return a ``DecoderPool`` with these arguments; a ``SerialDecoder`` if its processes cannot get ``decode``."""
    if START_METHOD != "fork":
        try:
            ForkingPickler.dumps(decode)  # as a process that is started gets it
        except Exception as error:
            logger.warning("images are decoded in one process, without a time limit: %s", error)
            return SerialDecoder(decode)
    return DecoderPool(decode, template, size, count, seconds)
