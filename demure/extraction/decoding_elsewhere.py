"""Decode and prepare files by processes anywhere on a cluster, while a worker encodes what they have decoded.

What ``workers`` does beside the encoder on one machine: a process elsewhere decodes some files of a batch at a time, in
a child of its own, so that a file has the same time limit and costs the same as there. The whole path of an image is in
``extract``.

Shapes: n inputs of a batch.
"""

from __future__ import annotations

import logging
import platform
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from demure.cluster.executor import Executor, Task
from demure.errors import MachineError
from demure.extraction.images import CHANGED, UNREADABLE
from demure.extraction.inputs import InputProblem
from demure.extraction.workers import START_METHOD, Batch, DecodedBatch, DecoderPool, PreparedFiles
from demure.progress import Listener

FILES_AT_ONCE = 32
BYTES_AT_ONCE = 16 << 20  # of decoded files that travel together
logger = logging.getLogger(__name__)


class File(Protocol):
    """A file to decode: a tuple of what JSON can hold (``images.ImageFile``, ``media.MediaFile``)."""

    @property
    def path(self) -> str: ...

    def __iter__(self) -> Iterator[Any]: ...

    def load(self) -> Any:
        """Return the content, or raise ``UnusableInput``."""
        ...

    def is_unchanged(self) -> bool:
        """Return whether the file is here, as it was when it was hashed."""
        ...


@runtime_checkable
class FileLoader(Protocol):
    """What ``Inputs.load`` is for files."""

    def file(self, k: int) -> File:
        """Return file k."""
        ...


@dataclass(frozen=True)
class _Loads:
    """Loads what was a file of this type before it travelled as JSON; its first entry is the row in its part."""

    type: Callable[..., File]

    def __call__(self, sent: Sequence[Any]) -> Any:
        return self.type(*sent[1:]).load()


class DecodedFiles(NamedTuple):
    """Some files of a batch: ``arrays`` of the usable ``rows``, the ``problems`` of the others, and the machine."""

    rows: list[int]
    arrays: np.ndarray
    problems: list[InputProblem]
    node: str


@dataclass(frozen=True, eq=False)
class DecodeTask(Task[Sequence[File], DecodedFiles]):
    """Decodes files in a child process, which a worker keeps.

    ``files``: those that every machine must see; ``encoder`` prepares what is decoded, as ``template`` is; ``size``:
    most files of a part; ``seconds``: time limit for one file.
    """

    files: tuple[Path, ...]
    type: Callable[..., File]
    encoder: Any
    template: np.ndarray
    size: int
    seconds: float

    def shared_files(self) -> tuple[Path, ...]:
        return self.files

    @cached_property
    def _pool(self) -> DecoderPool:
        decode = PreparedFiles(_Loads(self.type), self.encoder)
        return DecoderPool(decode, self.template, self.size, 1, self.seconds)

    def close(self) -> None:
        """End the child process of this task, if it has one."""
        if "_pool" in vars(self):
            self._pool.close()

    def work(self, part: Sequence[File], listener: Listener) -> DecodedFiles:
        decoded = self._pool.decode([[row, *file] for row, file in enumerate(part)])
        rows = [sent[0] for sent in decoded.inputs]
        others = sorted({*range(len(part))} - {*rows})
        problems = [
            InputProblem(row, kind, value) for row, (_, kind, value) in zip(others, decoded.problems, strict=True)
        ]
        return DecodedFiles(rows, np.array(decoded.arrays), problems, platform.node())


class DecodersElsewhere:
    """Decodes batches by the processes of an ``executor``; used as ``workers.DecoderPool`` is."""

    def __init__(self, executor: Executor, load: FileLoader, task: DecodeTask) -> None:
        self.executor, self.load, self.task = executor, load, task

    def run(self, batches: Iterator[Batch]) -> Generator[DecodedBatch, None, None]:
        """Yield each batch decoded, in order.

        Raises ``MachineError`` if a process does not see a file that this one sees, or if processes are lost again and
        again.
        """
        under_way: deque[tuple[Batch, int]] = deque()  # and the number of its parts

        def parts() -> Iterator[list[File]]:
            for batch in batches:
                starts = range(0, len(batch[1]), self.task.size)
                under_way.append((batch, len(starts)))
                for start in starts:
                    yield [self.load.file(k) for k in batch[1][start : start + self.task.size]]

        decoded: list[DecodedFiles] = []
        try:
            for files in self.executor.map(self.task, parts()):
                decoded.append(files)
                (tag, inputs), number = under_way[0]
                if len(decoded) == number:
                    under_way.popleft()
                    batch = self._merge(tag, inputs, decoded)
                    decoded.clear()
                    yield batch
        finally:
            self.task.close()  # a child has copies of the locks on shards

    def _merge(self, tag: Any, inputs: Sequence[int], decoded: Sequence[DecodedFiles]) -> DecodedBatch:
        """Return the batch of all parts, with the numbers that the inputs have here."""
        usable: list[int] = []
        problems: list[InputProblem] = []
        for start, files in zip(range(0, len(inputs), self.task.size), decoded, strict=True):
            usable += [inputs[start + row] for row in files.rows]
            for row, kind, value in files.problems:
                k = inputs[start + row]
                if kind in (UNREADABLE, CHANGED) and (file := self.load.file(k)).is_unchanged():
                    raise MachineError(
                        f"{files.node} does not see the file that {platform.node()} sees there",
                        where=file.path,
                        remedy="put the files where all machines of the cluster see them under the same path",
                    )
                problems.append(InputProblem(k, kind, value))
        return DecodedBatch(tag, usable, np.concatenate([files.arrays for files in decoded]), problems)


def decoders_elsewhere(
    executor: Executor, dataset: Path, load: Callable[[int], Any], encoder: Any, template: np.ndarray, seconds: float
) -> DecodersElsewhere | None:
    """Return decoders on the cluster of ``executor``, or None where files must be decoded beside the encoder.

    That is so without a cluster, where processes are not forked (each part would start one), and for an encoder that
    cannot travel.
    """
    if executor.is_local or START_METHOD != "fork" or not isinstance(load, FileLoader):
        return None
    try:
        ForkingPickler.dumps(encoder)
    except Exception as error:
        logger.warning("files are decoded beside the encoder: it cannot travel to other machines: %s", error)
        return None
    size = max(1, min(FILES_AT_ONCE, BYTES_AT_ONCE // max(1, template.nbytes)))
    return DecodersElsewhere(
        executor, load, DecodeTask((dataset,), type(load.file(0)), encoder, template, size, seconds)
    )
