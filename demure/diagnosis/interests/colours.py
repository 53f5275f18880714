"""The colours that set the pictures of an interest apart from those of the other choices.

Shape suffixes: C interests, I items, P pixels, N named colours.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from demure.images.decoders import shared_decoders
from demure.images.unusable import UnusableInput

COLOURS = {
    "black": (15, 15, 15),
    "dark grey": (75, 75, 78),
    "grey": (135, 135, 138),
    "light grey": (200, 200, 203),
    "white": (250, 250, 250),
    "cream": (242, 232, 208),
    "beige": (205, 180, 145),
    "brown": (110, 72, 42),
    "dark red": (115, 20, 30),
    "red": (205, 35, 40),
    "orange": (240, 130, 40),
    "yellow": (245, 215, 65),
    "olive": (115, 110, 50),
    "green": (65, 150, 70),
    "dark green": (25, 65, 45),
    "turquoise": (65, 180, 180),
    "light blue": (165, 200, 230),
    "blue": (50, 95, 185),
    "dark blue": (25, 35, 80),
    "purple": (120, 65, 145),
    "pink": (240, 150, 180),
    "pale pink": (243, 210, 212),
}
"""Name -> red, green and blue."""
_EXAMPLES = 24  # pictures of an interest
_SIDE = 24  # pixels
_MIN_SHARE, _MIN_LIFT = 0.06, 1.3  # of the pixels of an interest, and over those of all interests
_NAMED = 2
_THREADS, _SECONDS = 4, 2.0


def distinctive_colours(weight_CI: np.ndarray, pictures: Sequence[Path | None]) -> list[list[str]]:
    """Return for each interest up to two colours that its pictures show more than those of the other interests.

    ``weight_CI`` as in :func:`demure.diagnosis.interests.naming.distinctive_terms`; ``pictures``: the file of each item
    or None. Pictures that cannot be read are left out.
    """
    best = []
    for own_I in weight_CI:
        order = np.argsort(-own_I, kind="stable")[:_EXAMPLES]
        best.append([i for i in order if own_I[i] > 0 and pictures[i]])
    wanted = sorted({int(i) for own in best for i in own})
    files = [file for i in wanted if (file := pictures[i]) is not None]
    histogram = dict(zip(wanted, _histograms(files), strict=True))
    share_CN = np.zeros((len(best), len(COLOURS)))
    for c, own in enumerate(best):
        read = [shares for i in own if (shares := histogram[int(i)]) is not None]
        if read:
            share_CN[c] = np.mean(read, axis=0)
    shown = share_CN.sum(1) > 0
    if not shown.any():
        return [[] for _ in best]
    share_N = share_CN[shown].mean(0)
    lift_CN = np.maximum(share_CN, 1e-9) / np.maximum(share_N, 1e-9)
    score_CN = np.where((lift_CN >= _MIN_LIFT) & (share_CN >= _MIN_SHARE), share_CN * np.log(lift_CN), 0.0)
    names = list(COLOURS)
    return [[names[n] for n in np.argsort(-own_N, kind="stable")[:_NAMED] if own_N[n] > 0] for own_N in score_CN]


def _histograms(pictures: Sequence[Path]) -> list[np.ndarray | None]:
    """Return the shares of the named colours in each picture (N,), or None if it cannot be read."""
    with ThreadPoolExecutor(_THREADS) as threads:
        return list(threads.map(_histogram, pictures))


def _histogram(picture: Path) -> np.ndarray | None:
    try:
        small = shared_decoders().thumbnail(picture, _SIDE, _SIDE, _SECONDS)
    except UnusableInput:
        return None
    difference_PN3 = _lab(small)[:, None] - _palette()
    nearest_P = (difference_PN3**2).sum(-1).argmin(1)
    shares_N: np.ndarray = np.bincount(nearest_P, minlength=len(COLOURS)) / len(nearest_P)
    return shares_N


@functools.cache
def _palette() -> np.ndarray:
    """Return the named colours in Lab (N, 3)."""
    palette = Image.new("RGB", (len(COLOURS), 1))
    palette.putdata(list(COLOURS.values()))
    return _lab(palette)


def _lab(image: Image.Image) -> np.ndarray:
    """Return the pixels of an sRGB image in Lab (P, 3), in steps of a 255th: distances are those that eyes see."""
    lab = ImageCms.profileToProfile(
        image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert lab is not None
    pixels = np.asarray(lab).reshape(-1, 3).astype(np.float64)
    pixels[:, 1:] = (pixels[:, 1:] + 128) % 256  # a and b are signed bytes
    return pixels
