"""Decode image files of any format into upright RGB, or say why a file is unusable.

``workers`` calls this module in processes of its own. The whole path of an image is in ``extract``.
"""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

POLICY = {"orientation": "EXIF", "alpha": "on white", "frame": "first", "decoder": 1}
MAX_PIXELS = 89_000_000
# Formats such as EPS and PDF are left out: Pillow would run other programs for them.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO", "TGA")


class UnusableInput(Exception):
    """An input that cannot be encoded: a short ``kind``, by which problems are counted, and the exact ``value``."""

    def __init__(self, kind: str, value: str = "") -> None:
        self.kind, self.value = kind, value
        super().__init__(kind)


def decode_image(data: bytes) -> Image.Image:
    """Decode the first frame as upright RGB, whatever the file's suffix is. Raises ``UnusableInput``."""
    try:
        image = Image.open(io.BytesIO(data), formats=_formats())
        if image.width * image.height > MAX_PIXELS:
            raise UnusableInput("too many pixels", f"{image.width} x {image.height}")
        image.load()
        return _rgb(ImageOps.exif_transpose(image))
    except UnusableInput:
        raise
    except Image.DecompressionBombError as error:
        raise UnusableInput("too many pixels", str(error)) from error
    except UnidentifiedImageError as error:
        raise UnusableInput("not an image", f"starts with {data[:12]!r}") from error
    except Exception as error:  # decoders of damaged files raise nearly anything
        kind = "truncated image" if "truncated" in str(error).lower() else "damaged image"
        raise UnusableInput(kind, " ".join(str(error).split())[:200]) from error


@functools.cache
def _formats() -> tuple[str, ...]:
    """Return the ``FORMATS`` that this Pillow was built with."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        levels = np.asarray(image, dtype=np.float64)
        top = max(float(levels.max(initial=0)), 1e-12)
        if image.mode.startswith("I;16"):
            white = 65535.0
        else:  # a file of 32 bits does not state its white: take the least usual value that no pixel exceeds
            usual = ((1.0,) if image.mode == "F" else ()) + (255.0, 65535.0)
            white = next((value for value in usual if top <= value), top)
        return Image.fromarray(np.clip(levels * (255 / white), 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
