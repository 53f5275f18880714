"""Small pictures of items as data URIs, within a budget of bytes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps, features

from demure.progress import Listener, Progress, silent

_HEIGHTS = (112, 96, 80, 64, 48)  # pixels, tried from the largest
_SAMPLE = 40
_MAX_PIXELS = 50_000_000


def thumbnails(paths: Sequence[Path | None], at_most_bytes: int, listener: Listener = silent) -> list[str]:
    """A data URI for each picture, ``""`` where there is none, it cannot be read, or the budget is spent.

    The height is the largest at which all are expected to fit; earlier pictures go first.
    """
    given = [path for path in paths if path is not None]
    sample = given[:: max(1, len(given) // _SAMPLE)]
    height = _HEIGHTS[-1]
    for candidate in _HEIGHTS if sample else ():
        mean = sum(len(_encode(path, candidate)) for path in sample) / len(sample)
        if mean * len(given) <= at_most_bytes:
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
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > _MAX_PIXELS:
                return ""
            picture.draft("RGB", (height * 2, height * 2))
            small = ImageOps.exif_transpose(picture).convert("RGB")
            small.thumbnail((height * 3 // 2, height))
            buffer = io.BytesIO()
            small.save(buffer, kind, quality=60)
    except Exception:  # whatever Pillow finds wrong with a picture, the page is still a page without it
        return ""
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
