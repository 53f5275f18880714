"""Unfinished extraction: shards in ``features/.work-NAME/``, each whole or absent, so that a killed run goes on."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from demure.errors import DemureError
from demure.features.inputs import Problem
from demure.files import atomic_file, cannot_write, read_json, write_json


@dataclass(frozen=True)
class Shard:
    """Vectors (n, d) float32 of n distinct inputs, which of them there are, and (input, kind, value) of the others."""

    vectors: np.ndarray
    present: np.ndarray
    problems: list[Problem]


class Work:
    """The shards of one modality for one ``key``, the hash of all that decides the vectors."""

    def __init__(self, dataset_path: Path, name: str, key: str, *, resume: bool) -> None:
        self.folder = _folder(dataset_path, name)
        try:
            known = read_json(self.folder / "work.json").get("key") if resume else None
        except (DemureError, AttributeError):
            known = None
        if known != key:
            forget(dataset_path, name)
            write_json(self.folder / "work.json", {"key": key})

    def load(self, number: int) -> Shard | None:
        """Shard ``number``, or None if it is still to be made."""
        from safetensors import SafetensorError, safe_open

        path = self._path(number)
        if not path.is_file():
            return None
        try:
            with safe_open(str(path), framework="numpy") as file:
                problems = json.loads(file.metadata()["problems"])
                vectors, present = file.get_tensor("vectors"), file.get_tensor("present")
            return Shard(vectors, present.astype(bool), [(k, kind, value) for k, kind, value in problems])
        except (SafetensorError, OSError, KeyError, ValueError, TypeError):
            return None

    def save(self, number: int, shard: Shard) -> None:
        """Keep shard ``number``."""
        from safetensors.numpy import save_file

        arrays = {"vectors": np.ascontiguousarray(shard.vectors), "present": shard.present.astype(np.uint8)}
        path = self._path(number)
        with atomic_file(path) as part:
            try:
                save_file(arrays, str(part), metadata={"problems": json.dumps(shard.problems)})
            except Exception as error:  # safetensors has its own class for a full disk
                raise cannot_write(path, OSError(str(error))) from error

    def _path(self, number: int) -> Path:
        return self.folder / f"shard-{number:06d}.safetensors"


def forget(dataset_path: Path, name: str) -> None:
    """Delete all shards of a modality, and what a process that was killed while it renamed folders left of it."""
    folder = _folder(dataset_path, name)
    left = [path for path in folder.parent.glob(f".{name}.*") if path.suffix in {".part", ".old"}]
    for path in (folder, *left):
        shutil.rmtree(path, ignore_errors=True)


def _folder(dataset_path: Path, name: str) -> Path:
    return Path(dataset_path) / "features" / f".work-{name}"
