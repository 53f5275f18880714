"""Find vectors that an earlier run made of the same inputs, and plan which inputs the encoder still has to encode.

Encoding calls ``find_reusable`` and encodes the pending inputs of the ``EncodingPlan``; assemble reads its ``blocks``.

Shapes: d distinct inputs, n inputs of a block, D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demure.data.feature_manifest import VECTORS, feature_files, read_arrays
from demure.errors import DemureError
from demure.extraction.hashing import match_hashes
from demure.extraction.inputs import EncodingTask, InputProblem, Inputs
from demure.extraction.shards import ShardFolder, read_shard
from demure.features import store
from demure.features.rows import RowReader

_BLOCK = 4096


@dataclass(frozen=True)
class ReusableVectors:
    """Vectors of inputs that occur again: ``rows`` of the finished features, and ``shards`` of unfinished ones.

    ``location`` (d, 2) holds for each input the file (0: the features, 1 and up: the shards, -1: none) and the row.
    """

    rows: RowReader | None
    shards: list[Path]
    location: np.ndarray


@dataclass(frozen=True)
class VectorBlock:
    """Distinct ``inputs`` (n,), their ``vectors`` (n, D) float32, which are ``present`` (n,), and the problems."""

    inputs: np.ndarray
    vectors: np.ndarray
    present: np.ndarray
    problems: list[InputProblem]


def find_reusable(task: EncodingTask, vector_hash: str, folder: ShardFolder) -> ReusableVectors:
    """Return the vectors that the encoder of ``vector_hash`` made of the task's inputs before.

    Inputs that it could not use are tried again.
    """
    keys = task.inputs.keys
    location = np.full((len(keys), 2), -1, dtype=np.int64)
    rows, shards = None, folder.reusable_shards()
    finished = _finished(task.folder, task.name, vector_hash)
    if finished is None:
        finished = _finished(task.folder, f"{store.EARLIER}{task.name}", vector_hash)
    if finished is not None:
        rows, row_keys, present = finished
        row = match_hashes(keys, row_keys)
        usable = (row >= 0) & present[row]
        location[usable] = np.stack([np.zeros(int(usable.sum()), dtype=np.int64), row[usable]], axis=1)
    for file, path in enumerate(shards, start=1):
        shard = read_shard(path)
        if shard is not None:
            row = match_hashes(keys, shard.keys)
            usable = (location[:, 0] < 0) & (row >= 0) & shard.present[row]
            location[usable] = np.stack([np.full(int(usable.sum()), file), row[usable]], axis=1)
    return ReusableVectors(rows, shards, location)


def _finished(folder: Path, name: str, vector_hash: str) -> tuple[RowReader, np.ndarray, np.ndarray] | None:
    """Return the reader, input hashes and presence of the stored features, if the same encoder made them."""
    try:
        if store.read_manifest(folder, name).provenance.get("maker") != vector_hash:
            return None
        arrays = read_arrays(folder, name, ("inputs", "present"))
        rows = RowReader(feature_files(folder, name).file(VECTORS), "vectors")
        return None if "inputs" not in arrays else (rows, arrays["inputs"], arrays["present"])
    except (DemureError, OSError, KeyError, ValueError):
        return None


@dataclass(frozen=True)
class EncodingPlan:
    """The distinct inputs to encode, ``pending`` in the order of encoding, ``shard_size`` to a shard; ``dim`` is D."""

    inputs: Inputs
    reusable: ReusableVectors | None
    pending: np.ndarray
    dim: int
    shard_size: int

    @classmethod
    def make(
        cls, inputs: Inputs, reusable: ReusableVectors | None, dim: int, shard_size: int, order: np.ndarray
    ) -> EncodingPlan:
        """Plan all inputs in ``order`` (d,), without the inputs that have a reusable vector."""
        pending = order if reusable is None else order[reusable.location[order, 0] < 0]
        return cls(inputs, reusable, pending, dim, shard_size)

    @property
    def shards(self) -> int:
        """The number of shards."""
        return -(-len(self.pending) // self.shard_size)

    @property
    def reused(self) -> int:
        """The number of inputs that need no encoder."""
        return len(self.inputs.keys) - len(self.pending)

    def shard_inputs(self, number: int) -> np.ndarray:
        """Return the distinct inputs of shard ``number``, (n,)."""
        return self.pending[number * self.shard_size : (number + 1) * self.shard_size]

    def shard_keys(self, number: int) -> np.ndarray:
        """Return the hashes of the inputs of shard ``number``, (n, 16)."""
        keys: np.ndarray = self.inputs.keys[self.shard_inputs(number)]
        return keys

    def blocks(self, folder: ShardFolder) -> Iterator[VectorBlock]:
        """Yield the vectors of all distinct inputs, from the shards and from earlier runs."""
        for number in range(self.shards):
            shard, inputs = folder.load(number, self.shard_keys(number)), self.shard_inputs(number)
            if shard is None:
                raise DemureError(f"shard {number} is gone", where=folder.folder, remedy="run the same command again")
            problems = [InputProblem(int(inputs[row]), kind, value) for row, kind, value in shard.problems]
            yield VectorBlock(inputs, shard.vectors, shard.present, problems)
        if self.reusable is None:
            return
        location = self.reusable.location
        for file, path in enumerate([None, *self.reusable.shards]):
            inputs = np.flatnonzero(location[:, 0] == file)
            inputs = inputs[np.argsort(location[inputs, 1], kind="stable")]
            for start in range(0, len(inputs), _BLOCK):
                block = inputs[start : start + _BLOCK]
                vectors = self._reused_vectors(path, location[block, 1])
                yield VectorBlock(block, vectors, np.ones(len(block), dtype=bool), [])

    def _reused_vectors(self, path: Path | None, row: np.ndarray) -> np.ndarray:
        """Return rows (n,), rising, of the shard ``path``, or of the finished features where it is None."""
        if path is not None:
            shard = read_shard(path)
            if shard is None:
                raise DemureError("is gone", where=path, remedy="run the same command again")
            rows: np.ndarray = shard.vectors[row]
            return rows
        assert self.reusable is not None
        assert self.reusable.rows is not None
        vectors = np.empty((len(row), self.dim), dtype=np.float32)
        for start in range(int(row[0]), int(row[-1]) + 1, _BLOCK):
            stop = min(start + _BLOCK, int(row[-1]) + 1)
            inside = (row >= start) & (row < stop)
            if inside.any():
                vectors[inside] = self.reusable.rows.read(start, stop)[row[inside] - start]
        return vectors
