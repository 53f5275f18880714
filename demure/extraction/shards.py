"""Store unfinished work in shards in ``features/.work-NAME/``, each whole or absent, so that a killed run goes on.

Encoding writes the shards and assemble reads them. Several processes may work on one modality, on machines that share
the folder: a shard belongs to the process that holds the lock on it, and a lock ends with its process.

Shapes: n inputs of a shard, D dimensions.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from demure.errors import DemureError
from demure.features.store import EARLIER, EXTRACTION_LOCK
from demure.files import atomic_file, cannot_write, read_json, write_json
from demure.leftovers import sweep
from demure.locks import hold, holder

_MANIFEST = "work.json"


class RowProblem(NamedTuple):
    """Why a ``row`` of a shard has no vector; ``kind`` and ``value`` as in ``inputs.ItemProblem``."""

    row: int
    kind: str
    value: str


@dataclass(frozen=True)
class Shard:
    """The vectors of n distinct inputs.

    Attributes:
        keys: (n, 16) uint8, the hash of each input.
        vectors: (n, D) float32.
        present: (n,) bool, which inputs have a vector.
        problems: why the other inputs have none.
    """

    keys: np.ndarray
    vectors: np.ndarray
    present: np.ndarray
    problems: list[RowProblem]


class ShardFolder:
    """The shards of one modality.

    ``result_hash`` is the hash of everything that decides the features; shards are named by it. ``vector_hash`` is the
    hash of what decides the vector of one input: shards of another result with the same vector hash remain reusable.
    """

    def __init__(self, dataset_path: Path, name: str, result_hash: str, vector_hash: str, *, resume: bool) -> None:
        """Open the folder; delete its shards if their vectors are of another encoder, or unless ``resume``."""
        self.folder = _folder(dataset_path, name)
        self.result_hash = result_hash
        with self._opened():
            try:
                previous = read_json(self.folder / _MANIFEST).get("encoder") if resume else None
            except (DemureError, AttributeError):
                previous = None
            if previous != vector_hash:
                for path in self.folder.glob("shard-*"):
                    path.unlink(missing_ok=True)
            write_json(self.folder / _MANIFEST, {"key": result_hash, "encoder": vector_hash})

    @contextlib.contextmanager
    def _opened(self) -> Iterator[None]:
        while True:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise cannot_write(self.folder, error) from error
            with self.lock("work", wait=True) as held:
                if held and self.folder.is_dir():  # a process that has just finished may have deleted it
                    yield
                    return

    @contextlib.contextmanager
    def lock(self, name: str, *, wait: bool = False) -> Iterator[bool]:
        """Hold lock ``name`` while the block runs; yield False if another process holds it or the folder is deleted."""
        file = self.folder / f"{name}.lock"
        try:
            with hold(file, wait=wait) as held:
                yield held
        except OSError as error:
            if error.filename != str(file):  # of the block
                raise
            raise cannot_write(self.folder, error) from error

    def reusable_shards(self) -> list[Path]:
        """Return the shards that the same encoder made for other inputs."""
        paths = sorted(self.folder.glob("shard-*.safetensors"))
        return [path for path in paths if self.result_hash[:12] not in path.name]

    def has(self, number: int) -> bool:
        """Return whether the file of shard ``number`` exists."""
        return self._path(number).is_file()

    def lacks(self, number: int) -> bool:
        """Return whether shard ``number`` is still to be made: it is absent, and the shards were not deleted."""
        return not self.has(number) and self.folder.is_dir()

    def load(self, number: int, keys: np.ndarray) -> Shard | None:
        """Return shard ``number``, or None if it is absent, damaged, or of other inputs than ``keys``."""
        shard = read_shard(self._path(number))
        return shard if shard is not None and np.array_equal(shard.keys, keys) else None

    def usable(self, number: int, keys: np.ndarray) -> bool:
        """Return whether ``load`` returns a shard; delete a file that it cannot use."""
        if not self.has(number) or self.load(number, keys) is not None:
            return self.has(number)
        self._path(number).unlink(missing_ok=True)
        return False

    def save(self, number: int, shard: Shard) -> None:
        """Write shard ``number``. Raises ``DemureError`` if it cannot be written."""
        from safetensors.numpy import save_file

        arrays = {
            "keys": np.ascontiguousarray(shard.keys),
            "vectors": np.ascontiguousarray(shard.vectors),
            "present": shard.present.astype(np.uint8),
        }
        path = self._path(number)
        with atomic_file(path) as part:
            try:
                save_file(arrays, str(part), metadata={"problems": json.dumps(shard.problems)})
            except Exception as error:  # safetensors has its own class for a full disk
                raise cannot_write(path, OSError(str(error))) from error

    def _path(self, number: int) -> Path:
        return self.folder / f"shard-{self.result_hash[:12]}-{number:06d}.safetensors"


def read_shard(path: Path) -> Shard | None:
    """Return a shard, or None if it is absent or damaged."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(str(path), framework="numpy") as file:
            problems = json.loads(file.metadata()["problems"])
            keys, vectors, present = (file.get_tensor(name) for name in ("keys", "vectors", "present"))
        return Shard(keys, vectors, present.astype(bool), [RowProblem(*problem) for problem in problems])
    except (SafetensorError, OSError, KeyError, ValueError, TypeError):
        return None


@contextlib.contextmanager
def extraction_lock(dataset_path: Path) -> Iterator[None]:
    """Hold off a `demure prepare --overwrite` of the dataset folder while the block runs; other extractions may run."""
    file = Path(os.path.realpath(Path(dataset_path) / "features")) / EXTRACTION_LOCK
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # without permission to write there, nothing can be overwritten either
            file.parent.mkdir(parents=True, exist_ok=True)
            sweep(file.parent)
            if not stack.enter_context(hold(file, shared=True)):
                raise DemureError(f"is being prepared by {holder(file)}", where=dataset_path, remedy="wait for its end")
        yield


def delete_shards(dataset_path: Path, name: str) -> None:
    """Delete all shards of a modality, and the features of earlier items, of which the finished ones hold a part.

    The folder first gets another name, in one step: a process that shares the work never sees a part of the shards,
    and so does not make the others again.
    """
    folder = _folder(dataset_path, name)
    with contextlib.suppress(OSError):  # there is none, or the system cannot rename a folder with open files
        folder.rename(folder.with_name(f"{folder.name}~{os.getpid()}"))
    for path in (folder, *folder.parent.glob(f"{glob.escape(folder.name)}~*"), folder.parent / f"{EARLIER}{name}"):
        shutil.rmtree(path, ignore_errors=True)


def _folder(dataset_path: Path, name: str) -> Path:
    return Path(dataset_path) / "features" / f".work-{name}"
