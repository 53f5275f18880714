"""Unfinished extraction: shards in ``features/.work-NAME/``, each whole or absent, so that a killed run goes on.

Several processes may work on one modality, on machines that share the folder: a shard belongs to whoever holds the lock
on it, and the lock goes with its holder.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demure.errors import DemureError
from demure.extraction.inputs import Problem
from demure.files import atomic_file, cannot_write, read_json, write_json

try:
    import fcntl
except ImportError:  # Windows: one process at a time
    fcntl = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Shard:
    """Vectors (n, d) float32 of n distinct inputs with ``keys`` (n, 16), which of them there are, and (row, kind,
    value) of the others."""

    keys: np.ndarray
    vectors: np.ndarray
    present: np.ndarray
    problems: list[Problem]


class Work:
    """The shards of one modality. ``key`` is the hash of all that decides the files, ``encoder`` of what decides the
    vector of an input: shards of another key and the same encoder are ``earlier`` ones, whose vectors still hold."""

    def __init__(self, dataset_path: Path, name: str, key: str, encoder: str, *, resume: bool) -> None:
        self.folder = _folder(dataset_path, name)
        self.key = key
        with self._opened():
            try:
                known = read_json(self.folder / "work.json").get("encoder") if resume else None
            except (DemureError, AttributeError):
                known = None
            if known != encoder:
                for path in self.folder.glob("shard-*"):
                    path.unlink(missing_ok=True)
            write_json(self.folder / "work.json", {"key": key, "encoder": encoder})

    @contextlib.contextmanager
    def _opened(self) -> Iterator[None]:
        while True:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise cannot_write(self.folder, error) from error
            with self.locked("work", wait=True) as held:
                if held and self.folder.is_dir():  # it may have gone with a process that finished just now
                    yield
                    return

    @contextlib.contextmanager
    def locked(self, name: str, *, wait: bool = False) -> Iterator[bool]:
        """Hold lock ``name`` as long as the block runs; false if another process has it, or the folder is gone."""
        if fcntl is None:
            yield True
            return
        try:
            handle = open(self.folder / f"{name}.lock", "w")  # noqa: SIM115
        except FileNotFoundError:
            yield False
            return
        except OSError as error:
            raise cannot_write(self.folder, error) from error
        with handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def earlier(self) -> list[Path]:
        """Shards that were made for other inputs of the same encoder."""
        return [path for path in sorted(self.folder.glob("shard-*.safetensors")) if self.key[:12] not in path.name]

    def has(self, number: int) -> bool:
        """Whether shard ``number`` is there."""
        return self._path(number).is_file()

    def load(self, number: int, keys: np.ndarray) -> Shard | None:
        """Shard ``number``, or None if it is still to be made: absent, damaged, or of other inputs than ``keys``."""
        shard = read(self._path(number))
        return shard if shard is not None and np.array_equal(shard.keys, keys) else None

    def usable(self, number: int, keys: np.ndarray) -> bool:
        """Whether ``load`` gives something; what is there but cannot be used is deleted."""
        if not self.has(number) or self.load(number, keys) is not None:
            return self.has(number)
        self._path(number).unlink(missing_ok=True)
        return False

    def save(self, number: int, shard: Shard) -> None:
        """Keep shard ``number``. Raises ``DemureError`` if it cannot be written."""
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
        return self.folder / f"shard-{self.key[:12]}-{number:06d}.safetensors"


def read(path: Path) -> Shard | None:
    """A shard, or None if it is absent or damaged."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return None
    try:
        with safe_open(str(path), framework="numpy") as file:
            problems = json.loads(file.metadata()["problems"])
            keys, vectors, present = (file.get_tensor(name) for name in ("keys", "vectors", "present"))
        return Shard(keys, vectors, present.astype(bool), [(k, kind, value) for k, kind, value in problems])
    except (SafetensorError, OSError, KeyError, ValueError, TypeError):
        return None


def forget(dataset_path: Path, name: str) -> None:
    """Delete all shards of a modality, and what a process that was killed while it renamed folders left of it."""
    folder = _folder(dataset_path, name)
    left = [path for path in folder.parent.glob(f".{name}.*") if path.suffix in {".part", ".old"}]
    left = [path for path in left if "." not in path.stem.removeprefix(f".{name}.")]
    for path in (folder, *left):
        shutil.rmtree(path, ignore_errors=True)


def _folder(dataset_path: Path, name: str) -> Path:
    return Path(dataset_path) / "features" / f".work-{name}"
