"""Image files of any kind as upright RGB, or the reason why not."""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image, ImageOps

POLICY = {"orientation": "EXIF", "alpha": "on white", "frame": "first", "decoder": 1}
MOST_PIXELS = 89_000_000
# EPS and PDF, for instance, would run other programs.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO", "TGA")


class Unusable(Exception):
    """An input that cannot be encoded: a short kind to count by, and what exactly."""

    def __init__(self, kind: str, value: str = "") -> None:
        self.kind, self.value = kind, value
        super().__init__(kind)


def decode(data: bytes) -> Image.Image:
    """The first frame as upright RGB, whatever the file's suffix says; raises ``Unusable``."""
    try:
        image = Image.open(io.BytesIO(data), formats=_formats())
        if image.width * image.height > MOST_PIXELS:
            raise Unusable("too many pixels", f"{image.width} x {image.height}")
        image.load()
        return _rgb(ImageOps.exif_transpose(image))
    except Unusable:
        raise
    except Image.DecompressionBombError as error:
        raise Unusable("too many pixels", str(error)) from error
    except Image.UnidentifiedImageError as error:
        raise Unusable("not an image", f"starts with {data[:12]!r}") from error
    except Exception as error:  # decoders of damaged files raise nearly anything
        kind = "truncated image" if "truncated" in str(error).lower() else "damaged image"
        raise Unusable(kind, " ".join(str(error).split())[:200]) from error


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of ``FORMATS`` that this Pillow was built with."""
    Image.init()
    return tuple(one for one in FORMATS if one in Image.OPEN)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        levels = np.asarray(image, dtype=np.float64)
        top = max(float(levels.max(initial=0)), 1e-12)
        if image.mode.startswith("I;16"):
            white = 65535.0
        else:  # 32 bits do not say what white is: the least usual white that nothing exceeds
            white = next((one for one in ((1.0,) if image.mode == "F" else ()) + (255.0, 65535.0) if top <= one), top)
        return Image.fromarray(np.clip(levels * (255 / white), 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")
