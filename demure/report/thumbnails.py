"""Small pictures of items as data URIs, within a budget of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps, features

from demure.progress import Listener, Progress, silent

_HEIGHTS = (128, 112, 96, 80, 64, 48)  # pixels, the largest is tried first
_SAMPLE = 40
_MAX_PIXELS = 50_000_000


def thumbnails(paths: Sequence[Path | None], at_most_bytes: int, listener: Listener = silent) -> list[str]:
    """Return a data URI for each picture, ``""`` if it is absent, unreadable, or would exceed ``at_most_bytes``.

    The height is the largest at which all are expected to fit, by a sample of 40; earlier pictures have priority.
    """
    present = [path for path in paths if path is not None]
    sample = present[:: max(1, len(present) // _SAMPLE)]
    height = _HEIGHTS[-1]
    for candidate in _HEIGHTS if sample else ():
        mean = sum(len(_encode(path, candidate)) for path in sample) / len(sample)
        if mean * len(present) <= at_most_bytes:
            height = candidate
            break
    result, spent = [], 0
    for done, path in enumerate(paths, start=1):
        uri = "" if path is None else _encode(path, height)
        if spent + len(uri) > at_most_bytes:
            uri = ""
        spent += len(uri)
        result.append(uri)
        if done % 50 == 0 or done == len(paths):
            listener(Progress("thumbnails", done, len(paths)))
    return result


def _encode(path: Path, height: int) -> str:
    kind = "WEBP" if features.check("webp") else "JPEG"
    image = small(path, height * 3 // 2, height)
    if image is None:
        return ""
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=60)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def small(path: Path, width: int, height: int) -> Image.Image | None:
    """Return a picture scaled to fit ``width`` x ``height`` pixels, upright and in RGB.

    None if it cannot be read, or has more than 50 million pixels.
    """
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > _MAX_PIXELS:
                return None
            picture.draft("RGB", (height * 2, height * 2))
            image = ImageOps.exif_transpose(picture).convert("RGB")
            image.thumbnail((width, height))
            return image
    except Exception:  # Pillow raises many kinds; the page or table does without the picture
        return None
