"""Pictures with a heat map: which parts of them add to the evidence for a choice.

Shape suffix: G cells of a side.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from demure.files import atomic_file
from demure.images.decoders import shared_decoders
from demure.images.unusable import UnusableInput

SIDE = 256
"""Pixels to which a picture is reduced."""
_RED = (220, 30, 30)
_STRONGEST = 0.75  # of the red in the hottest place
_GAP = 8  # pixels between a picture and its heat map


def open_picture(path: Path) -> Image.Image | None:
    """Return the picture in RGB, upright and reduced; None if it cannot be read in time."""
    try:
        return shared_decoders().thumbnail(path, SIDE, SIDE)
    except UnusableInput:
        return None


def heat_map(image: Image.Image, grid_GG: np.ndarray) -> Image.Image:
    """Return the picture in grey under its heat map: red where ``grid_GG`` (nats) speaks for the choice."""
    heat = np.maximum(grid_GG, 0) / max(float(grid_GG.max()), 1e-9)
    mask = Image.fromarray((heat * 255).astype(np.uint8)).resize(image.size, Image.Resampling.BICUBIC)
    strong = mask.point(lambda value: int(value * _STRONGEST))
    return Image.composite(Image.new("RGB", image.size, _RED), image.convert("L").convert("RGB"), strong)


def write_side_by_side(image: Image.Image, grid_GG: np.ndarray, out: Path) -> None:
    """Write the picture beside its heat map as a PNG file."""
    both = Image.new("RGB", (2 * image.width + _GAP, image.height), "white")
    both.paste(image, (0, 0))
    both.paste(heat_map(image, grid_GG), (image.width + _GAP, 0))
    with atomic_file(out) as part:
        both.save(part, format="PNG")
