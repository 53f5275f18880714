"""What runs in a worker process of a cluster: parts of a task, after a check that the worker sees the same files."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from demure import __version__
from demure.cluster.executor import MeetingPoint, Task
from demure.errors import MachineError, StorageError
from demure.files import sha256_file
from demure.integrity import Hashes, hashes_below, take_hashes
from demure.progress import silent
from demure.storage.elsewhere import FetchedFolders
from demure.storage.names import is_remembered


@dataclass(frozen=True)
class SentTask:
    """A task as it travels: ``number`` of the task in its executor, the ``version`` of demure that sends it, the
    SHA-256 of the ``files`` that it shares, the folders that were ``fetched`` from URLs, and what the sender has
    ``hashed`` in the folders of those files."""

    number: int
    task: Task[Any, Any]
    files: Mapping[str, str]
    version: str = __version__
    fetched: FetchedFolders = field(default_factory=FetchedFolders)
    hashed: Hashes = field(default_factory=dict)

    @classmethod
    def of(cls, number: int, task: Task[Any, Any]) -> SentTask:
        files = {os.path.abspath(path): sha256_file(path) for path in task.shared_files()}
        hashed = hashes_below({Path(name).parent for name in files})
        return cls(number, task, files, fetched=FetchedFolders.of_this_process(), hashed=hashed)


class WorkerStorageError(StorageError):
    """A folder or file at a URL that a worker cannot use; names its machine."""


class Worker:
    """Does parts of tasks, and keeps what the last task opened, also for an equal one that follows. If it is lost, the
    executor starts it again."""

    def __init__(self, threads: int) -> None:
        """Let NumPy and torch, which are not yet loaded, compute with as many threads as the worker has cores."""
        set_before = os.environ.get("OMP_NUM_THREADS", "")
        if not (set_before.isdigit() and 0 < int(set_before) < threads):
            os.environ["OMP_NUM_THREADS"] = str(threads)
        self._current: SentTask | None = None

    def ready(self) -> int:
        """Return the number of the process, once it has started."""
        return os.getpid()

    def meeting_point(self) -> MeetingPoint:
        """Return the address of this machine in the cluster, and a port that is free."""
        import ray.util

        with socket.socket() as probe:
            probe.bind(("", 0))
            return MeetingPoint(ray.util.get_node_ip_address(), int(probe.getsockname()[1]))

    def work(self, sent: SentTask, part: Any) -> Any:
        """Return the result of ``sent.task`` for ``part``. Raises ``MachineError`` if this worker has another demure or
        other files, ``WorkerStorageError`` if it cannot use what is at a URL."""
        try:
            return self._work(sent, part)
        except WorkerStorageError:  # of a process that did a part of this part
            raise
        except StorageError as error:
            problem = f"{error.problem}, for the worker on {platform.node()}"
            raise WorkerStorageError(problem, where=error.where, remedy=error.remedy) from error

    def _work(self, sent: SentTask, part: Any) -> Any:
        if self._current is None or self._current.number != sent.number:
            check_worker(sent)
            if self._current is not None:
                if (self._current.task, self._current.files) == (sent.task, sent.files):
                    sent = replace(sent, task=self._current.task)  # with what it has opened
                else:
                    sent.task.take_over(self._current.task)
            self._current = sent
        return self._current.task.work(part, silent)


def check_worker(sent: SentTask) -> None:
    """Fetch the folders at URLs that the task reads, and take over the hashes of files that are the same here.

    Raises ``MachineError`` if this process has another demure, or not the files that the task shares; ``StorageError``
    if a folder cannot be fetched.
    """
    node = platform.node()
    if sent.version != __version__:
        raise MachineError(
            f"the worker on {node} has demure {__version__}, and this is {sent.version}",
            where="--on ray",
            remedy="install the same version on all machines",
        )
    sent.fetched.fetch()
    for name, digest in sent.files.items():
        path = Path(name)
        if not path.is_file():
            problem = f"the worker on {node} does not see it"
        elif sha256_file(path) != digest:
            problem = f"the worker on {node} sees another file there"
        else:
            continue
        remedy = "put the folder where all machines of the cluster see it under the same path"
        if is_remembered(path):
            remedy = "set DEMURE_CACHE to a folder that all machines of the cluster see"
        raise MachineError(problem, where=path, remedy=remedy)
    take_hashes(sent.hashed)
