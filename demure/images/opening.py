"""Open image files with Pillow: only formats that are safe to read, and only as many pixels as memory holds.

This is the only module that calls ``Image.open``; a guard test holds that.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import IO

from PIL import Image, UnidentifiedImageError

from demure.images.unusable import UnusableInput

MAX_PIXELS = 89_000_000
# Formats such as EPS and PDF are left out: Pillow would run other programs for them.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO", "TGA")


@contextlib.contextmanager
def open_image(file: IO[bytes]) -> Iterator[Image.Image]:
    """Open the image in a seekable ``file``, whatever its suffix is.

    Raises ``UnusableInput``, also for any error of a decoder inside the block.
    """
    try:
        with Image.open(file, formats=_formats()) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnusableInput("too many pixels", f"{image.width} x {image.height}")
            yield image
    except UnusableInput:
        raise
    except Image.DecompressionBombError as error:
        raise UnusableInput("too many pixels", str(error)) from error
    except UnidentifiedImageError as error:
        file.seek(0)
        raise UnusableInput("not an image", f"starts with {file.read(12)!r}") from error
    except Exception as error:  # decoders of damaged files raise nearly anything
        kind = "truncated image" if "truncated" in str(error).lower() else "damaged image"
        raise UnusableInput(kind, " ".join(str(error).split())[:200]) from error


@functools.cache
def _formats() -> tuple[str, ...]:
    """Return the ``FORMATS`` that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)
