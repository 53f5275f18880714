"""The parts of a stage, done one after another in this process, or by workers on a cluster.

A stage describes its work as a ``Task`` and hands it to an ``Executor``, with the parts. Both executors call the same
``Task.work``, and yield the results in the order of the parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from demure.progress import Listener, silent

Part = TypeVar("Part")
Result = TypeVar("Result")


class Task(Generic[Part, Result]):
    """Work that is done part by part. A subclass is a dataclass.

    Its fields travel to the workers, so they are small and paths are absolute. All else that an instance holds, such as
    the model in a cached property, stays where it is: each worker opens its own, once for all its parts.
    """

    def shared_files(self) -> Sequence[Path]:
        """Return files that every worker must see as this process does: the manifests of the folders that it reads."""
        return ()

    def work(self, part: Part, listener: Listener) -> Result:
        """Return the result for one part; ``listener`` receives progress within the part."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        assert is_dataclass(self)
        return {field.name: getattr(self, field.name) for field in fields(self)}


class Executor(Protocol):
    """Does the parts of a task.

    ``workers``: how many parts are done at the same time; ``is_local``: whether they are done in this process.
    """

    @property
    def workers(self) -> int: ...

    @property
    def is_local(self) -> bool: ...

    def map(self, task: Task[Part, Result], parts: Iterable[Part], listener: Listener = silent) -> Iterator[Result]:
        """Yield the result of every part, in the order of ``parts``, which are taken as there is room for them.

        ``listener`` receives the progress within parts that are done in this process. Raises what ``Task.work`` raises,
        and ``MachineError`` if the workers cannot do the work.
        """
        ...


class LocalExecutor:
    """Does the parts in this process, one after another."""

    workers = 1
    is_local = True

    def map(self, task: Task[Part, Result], parts: Iterable[Part], listener: Listener = silent) -> Iterator[Result]:
        for part in parts:
            yield task.work(part, listener)


LOCAL = LocalExecutor()


def ranges(executor: Executor, total: int, size: int) -> list[range]:
    """Return the range from 0 to ``total`` in parts of ``size``, or whole if it is done in this process: there, a part
    would only cost another start."""
    if executor.is_local:
        return [range(total)]
    return [range(start, min(start + size, total)) for start in range(0, total, size)]
