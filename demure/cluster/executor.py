"""The parts of a stage, done one after another in this process, or by workers on a cluster.

A stage describes its work as a ``Task`` and hands it to an ``Executor``, with the parts. Both executors call the same
``Task.work``, and yield the results in the order of the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from demure.errors import DemureError
from demure.progress import Listener, silent

Part = TypeVar("Part")
Result = TypeVar("Result")


class Task(Generic[Part, Result]):
    """Work that is done part by part. A subclass is a dataclass.

    Its fields travel to the workers, so that paths are absolute, and large fields are arrays, of which the workers of a
    machine share one copy, not to be written to. All else that an instance holds, such as the model in a cached
    property, stays where it is: each worker opens its own, once for all its parts and those of an equal task that
    follows.
    """

    def shared_files(self) -> Sequence[Path]:
        """Return files that every worker must see as this process does: the manifests of the folders that it reads."""
        return ()

    def work(self, part: Part, listener: Listener) -> Result:
        """Return the result for one part; ``listener`` receives progress within the part."""
        raise NotImplementedError

    def take_over(self, earlier: Task[Any, Any]) -> None:
        """Keep what ``earlier``, the task before this one in the same worker, has opened and this one needs, too."""

    def __getstate__(self) -> dict[str, Any]:
        assert is_dataclass(self)
        return {field.name: getattr(self, field.name) for field in fields(self)}


class MeetingPoint(NamedTuple):
    """Where workers that compute together find each other: the machine of the first, and a free port there."""

    host: str
    port: int


class Executor(Protocol):
    """Does the parts of a task.

    ``workers``: how many parts are done at the same time; ``is_local``: whether they are done in this process.
    """

    @property
    def workers(self) -> int: ...

    @property
    def is_local(self) -> bool: ...

    def helpers(self, processes: int | None = None) -> Executor:
        """Return an executor for the parts of a part, which a task may take along.

        It does them by ``processes`` of one core for each worker, anywhere on the cluster (None: as many as there is
        room for); by the process itself if ``open_executor`` has left no room for them.
        """
        ...

    def map(self, task: Task[Part, Result], parts: Iterable[Part], listener: Listener = silent) -> Iterator[Result]:
        """Yield the result of every part, in the order of ``parts``, which are taken as there is room for them.

        ``listener`` receives the progress within parts that are done in this process. Raises what ``Task.work`` raises,
        and ``MachineError`` if the workers cannot do the work.
        """
        ...

    def run_together(
        self,
        task: Task[Part, Result],
        parts: Callable[[int, MeetingPoint], Sequence[Part]],
        lost: type[DemureError],
    ) -> list[Result]:
        """Return the results of parts that need each other, one for each worker, all at the same time.

        ``parts``: the number of the attempt, from 0, and the meeting point -> a part for each worker. If a worker is
        lost, or a part raises ``lost`` since another worker is, all are started again and make another attempt.
        """
        ...


class LocalExecutor:
    """Does the parts in this process, one after another."""

    workers = 1
    is_local = True

    def helpers(self, processes: int | None = None) -> Executor:
        return self

    def map(self, task: Task[Part, Result], parts: Iterable[Part], listener: Listener = silent) -> Iterator[Result]:
        for part in parts:
            yield task.work(part, listener)

    def run_together(
        self,
        task: Task[Part, Result],
        parts: Callable[[int, MeetingPoint], Sequence[Part]],
        lost: type[DemureError],
    ) -> list[Result]:
        raise AssertionError("one process is no group")


LOCAL = LocalExecutor()


def ranges(executor: Executor, total: int, size: int) -> list[range]:
    """Return the range from 0 to ``total`` in parts of ``size``, or whole if it is done in this process: there, a part
    would only cost another start."""
    if executor.is_local:
        return [range(total)]
    return [range(start, min(start + size, total)) for start in range(0, total, size)]
