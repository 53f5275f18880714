"""Recognise a request whose features are up to date before its encoder is loaded: that takes seconds and memory.

``features/NAME/request.json`` keeps a hash of what was asked for, and the size, times and inode of every file that
decided the vectors. Where all of it is as it was, so are the features; otherwise the encoder is loaded and the hashes
of contents decide (``encoding``).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demure import __version__
from demure.errors import DemureError
from demure.extraction.encoding import is_result
from demure.extraction.inputs import Inputs
from demure.extraction.protocol import EncoderFamily, EncoderSpec
from demure.features import store
from demure.files import read_json, sha256_bytes, write_json

_FORMAT = 2
_CACHES = ("HF_HOME", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME")  # where the hub's models are


@dataclass(frozen=True)
class RequestKey:
    """A request for the features ``name`` in the dataset ``folder``; ``sha256`` of all that is known of it at once."""

    folder: Path
    name: str
    sha256: str

    @classmethod
    def of(
        cls,
        folder: Path,
        name: str,
        kind: str,
        spec: EncoderSpec,
        family: EncoderFamily,
        options: Mapping[str, Any],
        inputs: Inputs,
    ) -> RequestKey:
        """Return the key of a request for ``inputs``; ``options`` are those that decide vectors, as JSON."""
        packages = {package: _version(package) for package in family.needs}
        code = _state([Path(origin)] if (origin := _origin(family, kind)) else [])
        made_by = [__version__, kind, str(spec), _place(spec.model), dict(options), packages, code]
        facts = [_FORMAT, *made_by, inputs.facts, inputs.problems]
        text = json.dumps(facts, sort_keys=True, default=str)
        return cls(folder, name, sha256_bytes(text.encode(), inputs.index.tobytes(), inputs.keys.tobytes()))

    def up_to_date(self, item_ids: Sequence[str], image_seconds: float) -> bool:
        """Return whether the stored features are those of this request, as ``encoding.is_result`` does."""
        try:
            record = read_json(self._file)
            if record["request"] != self.sha256:
                return False
            folders = [Path(path) for path in record["folders"]]
            if not all(folder.is_dir() for folder in folders) or _state(folders) != record["files"]:
                return False
            return record["key"] is not None and is_result(
                self.folder, self.name, record["key"], item_ids, image_seconds
            )
        except (DemureError, OSError, KeyError, TypeError, ValueError):
            return False

    def remember(self, folders: Sequence[Path]) -> None:
        """Keep that the features which are stored now are those of this request, from model files in ``folders``."""
        key = store.read_manifest(self.folder, self.name).provenance.get("key")
        places = [path.absolute() for path in folders]
        record = {"request": self.sha256, "key": key, "folders": list(map(str, places)), "files": _state(places)}
        write_json(self._file, record)

    @property
    def _file(self) -> Path:
        return self.folder / "features" / self.name / "request.json"


def _place(model: str) -> list[str | None]:
    """Return where a model's name leads from here: the same name is another folder elsewhere, or in another cache."""
    if model and os.path.exists(model):
        return [os.path.realpath(model)]
    return [os.environ.get(name) for name in _CACHES]


def _version(package: str) -> str | None:
    """Return the version of the installed package with this module, None where it is not known."""
    names = {"sklearn": "scikit-learn", "open_clip": "open_clip_torch"}
    try:
        return importlib.metadata.version(names.get(package, package))
    except importlib.metadata.PackageNotFoundError:
        return None


def _origin(family: EncoderFamily, kind: str) -> str | None:
    """Return the file of the encoder's class, without importing it."""
    spec = importlib.util.find_spec((family.target(kind) or "").partition(":")[0])
    return spec.origin if spec else None


def _state(paths: Sequence[Path]) -> dict[str, list[int]]:
    """Return path -> [size, times in ns, inode] of all files at and below ``paths``.

    Weights of one shape have one size, and archives and copies bring their times of change along, so that these two
    tell no two models apart; no program sets the time at which a file's entry changed.
    """
    state = {}
    for path in sorted(_files(paths)):
        status = path.stat()
        state[str(path)] = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
    return state


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_file():
            yield path
            continue
        yield from _files_below(path)
        # A snapshot in the hub's cache: the branch may since name another one.
        if path.parent.name == "snapshots":
            yield from _files_below(path.parent.parent / "refs")


def _files_below(folder: Path) -> Iterator[Path]:
    visited = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(place)) in visited:  # links in a circle
            folders.clear()
            continue
        visited.add(real)
        yield from (file for name in names if (file := Path(place, name)).is_file())
