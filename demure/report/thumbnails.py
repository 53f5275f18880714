"""Small pictures of items as data URIs, within a budget of bytes; no picture can hang or crash the command."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from demure.images.decoders import TOO_LONG, shared_decoders
from demure.images.unusable import UnusableInput
from demure.progress import Listener, Progress, silent

if TYPE_CHECKING:
    from PIL import Image

_HEIGHTS = (128, 112, 96, 80, 64, 48)  # pixels, the largest is tried first
_SAMPLE = 40
_THREADS = 4  # each waits for a process that decodes
_LONGEST, _SHORTEST = 2.0, 0.25  # seconds for one picture; usual ones take a hundredth of it


class Thumbnailer:
    """Makes small pictures. Each picture that takes too long halves the time limit for the following ones, so that
    many such files cannot hold a command up.

    Attributes:
        n_unreadable: pictures that took too long, or that cannot be decoded.
    """

    def __init__(self) -> None:
        self.n_unreadable = 0
        self._seconds = _LONGEST

    def make(self, path: Path, width: int, height: int) -> Image.Image | None:
        """Return a picture scaled to fit ``width`` x ``height`` pixels, upright and in RGB; None if unreadable."""
        try:
            return shared_decoders().thumbnail(path, width, height, self._seconds)
        except UnusableInput as problem:
            self.n_unreadable += 1
            if problem.kind == TOO_LONG:
                self._seconds = max(_SHORTEST, self._seconds / 2)
            return None


def thumbnails(
    paths: Sequence[Path | None],
    at_most_bytes: int,
    listener: Listener = silent,
    thumbnailer: Thumbnailer | None = None,
) -> list[str]:
    """Return a data URI for each picture, ``""`` if it is absent, unreadable, or would exceed ``at_most_bytes``.

    The height is the largest at which all are expected to fit, by a sample of 40; earlier pictures have priority.
    ``thumbnailer`` counts the unreadable ones.
    """
    thumbnailer = thumbnailer or Thumbnailer()
    present = [path for path in paths if path is not None]
    sampled = present[:: max(1, len(present) // _SAMPLE)]
    with ThreadPoolExecutor(_THREADS) as threads:
        sample = dict(zip(sampled, threads.map(partial(_decode, thumbnailer, _HEIGHTS[0]), sampled), strict=True))
        height = _choose_height(list(sample.values()), len(present), at_most_bytes)

        def encode(path: Path) -> str:
            return _encode(sample[path] if path in sample else _decode(thumbnailer, height, path), height)

        uris = threads.map(encode, present)
        return _within_budget(paths, uris, at_most_bytes, listener)


def _within_budget(
    paths: Sequence[Path | None], uris: Iterator[str], at_most_bytes: int, listener: Listener
) -> list[str]:
    result, spent = [], 0
    for done, path in enumerate(paths, start=1):
        uri = "" if path is None else next(uris)
        if spent + len(uri) > at_most_bytes:
            uri = ""
        spent += len(uri)
        result.append(uri)
        if done % 50 == 0 or done == len(paths):
            listener(Progress("thumbnails", done, len(paths)))
    return result


def small(path: Path, width: int, height: int) -> Image.Image | None:
    """Return a picture scaled to fit ``width`` x ``height`` pixels, upright and in RGB; None if it is unreadable."""
    return Thumbnailer().make(path, width, height)


def _decode(thumbnailer: Thumbnailer, height: int, path: Path) -> Image.Image | None:
    return thumbnailer.make(path, height * 3 // 2, height)


def _choose_height(sample: Sequence[Image.Image | None], count: int, at_most_bytes: int) -> int:
    """Return the largest height at which ``count`` pictures such as those of ``sample`` fit into the bytes."""
    for height in _HEIGHTS if sample else ():
        mean = sum(len(_encode(image, height)) for image in sample) / len(sample)
        if mean * count <= at_most_bytes:
            return height
    return _HEIGHTS[-1]


def _encode(image: Image.Image | None, height: int) -> str:
    from PIL import features

    if image is None:
        return ""
    image = image.copy()
    image.thumbnail((height * 3 // 2, height))
    kind = "WEBP" if features.check("webp") else "JPEG"
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=60)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
