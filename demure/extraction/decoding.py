"""Decode image files of any format into upright RGB, or say why a file is unusable.

``workers`` calls this module in processes of its own. The whole path of an image is in ``extract``.
"""

from __future__ import annotations

import io
from typing import IO

import numpy as np
from PIL import Image, ImageOps

from demure.images.opening import open_image
from demure.images.unusable import UnusableInput

__all__ = ["POLICY", "UnusableInput", "decode_image"]

REDUCTIONS = (8, 4, 2)  # by which a JPEG decoder can divide both sides, at a fraction of the work
REDUCIBLE = ("JPEG", "MPO")
MARGIN = 2  # pixels that stay for each pixel that the encoder reads: its own filter then does the rest
POLICY = {"orientation": "EXIF", "alpha": "on white", "frame": "first", "decoder": 1}


def decode_image(data: bytes, reduction: int = 1) -> Image.Image:
    """Decode the first frame as upright RGB, whatever the file's suffix is. Raises ``UnusableInput``.

    A ``reduction`` of ``possible_reduction`` divides both sides.
    """
    with open_image(io.BytesIO(data)) as image:
        if reduction > 1:
            image.draft(None, (image.width // reduction, image.height // reduction))
        image.load()
        return _rgb(ImageOps.exif_transpose(image))


def possible_reduction(file: IO[bytes], side: int) -> int:
    """Return by how much an image may be reduced for an encoder that reads ``side`` x ``side`` pixels; 1: not at all.

    Only the header is read. A file that cannot be decoded gives 1.
    """
    try:
        with open_image(file) as image:
            shorter = min(image.size) if image.format in REDUCIBLE else 0
    except UnusableInput:
        return 1
    return next((factor for factor in REDUCTIONS if shorter // factor >= MARGIN * side), 1)


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
