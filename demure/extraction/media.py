"""Collect the distinct audio and video files of the items, each with its hash; worker processes decode parts of them.

The stage after ``sources`` and before ``encoding``, for audio and video; for images it is ``images``. The whole path is
in ``extract``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from demure.extraction.images import CHANGED, distinct_files
from demure.extraction.inputs import Inputs
from demure.images.unusable import UnusableInput
from demure.media.clip import VideoFile
from demure.media.opening import require_av
from demure.media.sound import SoundFile

if TYPE_CHECKING:
    import pandas as pd

POLICY = {
    "audio": {"channels": "averaged", "decoder": 1},
    "video": {"frames": "evenly spaced", "decoder": 1},
}
_FILES = {"audio": SoundFile, "video": VideoFile}


def media_inputs(kind: str, items: pd.DataFrame, root: Path | None, cache_file: Path | None = None) -> Inputs:
    """Return every item's file of a kind of ``MEDIA``, by the bytes of the file; ``load`` opens it.

    Arguments as of ``demure.extraction.images.image_inputs``. Raises ``ExtractorError`` if the dataset has no such
    files, ``MachineError`` without PyAV.
    """
    files = distinct_files(kind, items, root, cache_file)
    require_av()
    load = _Opener(kind, files.paths, [_state(path) for path in files.paths], files.root)
    return Inputs(files.keys, files.index, files.problems, load, {"column": kind, **POLICY[kind]})


def _state(path: str) -> tuple[int, int] | None:
    """Return size and time of a file: reading all of a long one again would take longer than decoding its parts."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


class MediaFile(NamedTuple):
    """One audio or video file; JSON holds it. ``name`` is for messages, ``state`` as of ``_state``."""

    kind: str
    path: str
    name: str
    state: Sequence[int] | None

    def load(self) -> Any:
        """Open the file, and refuse one that has changed since it was hashed. Raises ``UnusableInput``."""
        if not self.is_unchanged():
            raise UnusableInput(CHANGED, f"{self.name}: run again")
        return _FILES[self.kind](Path(self.path), self.name)

    def is_unchanged(self) -> bool:
        """Return whether the file has the size and the time that it had when it was hashed."""
        return self.state is not None and _state(self.path) == tuple(self.state)


@dataclass(frozen=True)
class _Opener:
    """Opens distinct file k; worker processes get a copy."""

    kind: str
    paths: list[str]
    states: list[tuple[int, int] | None]
    root: Path

    def file(self, k: int) -> MediaFile:
        return MediaFile(self.kind, self.paths[k], os.path.relpath(self.paths[k], self.root), self.states[k])

    def __call__(self, k: int) -> Any:
        return self.file(k).load()


class BlankSound:
    """Silence, to learn what an audio encoder makes of a file."""

    def excerpts(self, rate: int, seconds: float, most: int) -> list[np.ndarray]:
        return [np.zeros(round(rate * seconds), np.float32)]


class BlankVideo:
    """Grey frames, to learn what an encoder of video makes of a file."""

    def frames(self, count: int) -> list[Any]:
        return [_grey()] * count


def blank(kind: str) -> Any:
    """Return an input of a kind of ``FILES`` without content."""
    return {"image": _grey, "audio": BlankSound, "video": BlankVideo}[kind]()


def _grey() -> Any:
    from PIL import Image

    return Image.new("RGB", (64, 64), "grey")
