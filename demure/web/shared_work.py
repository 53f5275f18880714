"""Answers that are slow to compute: computed for all requests that wait, and kept for a while."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from starlette.concurrency import run_in_threadpool

Answer = TypeVar("Answer")
_MOST_AT_ONCE = 64


class SharedWork(Generic[Answer]):
    """Compute answers by name in a thread, one computation at a time, each for all names that wait; keep the last ones.

    ``compute`` returns the answers to some names. All methods run in one event loop, so that nothing needs a lock.
    """

    def __init__(self, compute: Callable[[Sequence[str]], Mapping[str, Answer]], *, keep: int) -> None:
        self._compute, self._keep = compute, keep
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._waiting: OrderedDict[str, asyncio.Future[Answer]] = OrderedDict()
        self._task: asyncio.Task[None] | None = None

    async def of(self, name: str) -> Answer:
        """Return the answer to ``name``; raises what ``compute`` raises."""
        if name in self._answers:
            self._answers.move_to_end(name)
            return self._answers[name]
        if name not in self._waiting:
            self._waiting[name] = asyncio.get_running_loop().create_future()
        future = self._waiting[name]
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        return await asyncio.shield(future)  # a client that hangs up leaves the answer to the others

    async def _work(self) -> None:
        while self._waiting:
            names = list(self._waiting)[:_MOST_AT_ONCE]
            try:
                computed = await run_in_threadpool(self._compute, names)
            except Exception as error:
                for name in names:
                    self._waiting.pop(name).set_exception(error)
                continue
            for name in names:
                self._answers[name] = computed[name]
                self._waiting.pop(name).set_result(computed[name])
            while len(self._answers) > self._keep:
                self._answers.popitem(last=False)
