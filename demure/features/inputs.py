"""What goes into an encoder: an item's text, or its image. Identical inputs are one input; unusable ones a problem."""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from demure.errors import ExtractorError

if TYPE_CHECKING:
    import pandas as pd

JOIN = "all text columns in the order of the items file, one line each; '|' in genres and categories read as ', '"
MOST_PIXELS = 89_000_000
# EPS and PDF, for instance, would run other programs.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "ICO", "TGA")
Problem = tuple[int, str, str]


class Unusable(Exception):
    """An input that cannot be encoded: a short kind to count by, and what exactly."""

    def __init__(self, kind: str, value: str = "") -> None:
        self.kind, self.value = kind, value
        super().__init__(kind)


@dataclass(frozen=True)
class Inputs:
    """``keys``: a hash per distinct input, by first item; ``index`` (I,) item -> distinct input, -1 where unusable.

    ``load(k)`` gives distinct input k, or raises ``Unusable``; ``problems`` are (item, kind, value).
    """

    keys: list[str]
    index: np.ndarray
    problems: list[Problem]
    load: Callable[[int], Any]
    facts: dict[str, Any]


def texts(items: pd.DataFrame, columns: list[str]) -> Inputs:
    """Every item's text; see ``JOIN``. Raises ``ExtractorError`` if the dataset has no text column."""
    if not columns:
        raise ExtractorError(
            "the items have no text",
            where="--text",
            remedy="give an items file with title, description, text or genres",
        )
    parts = [[_line(value, column) for value in items[column]] for column in columns]
    joined = ["\n".join(line for line in lines if line) for lines in zip(*parts, strict=True)]
    distinct: dict[str, int] = {}
    index = np.array([distinct.setdefault(one, len(distinct)) if one else -1 for one in joined], dtype=np.int64)
    values = list(distinct)
    keys = [hashlib.sha256(one.encode("utf-8", "surrogatepass")).hexdigest() for one in values]
    problems = [(item, "empty text", "") for item in np.flatnonzero(index < 0).tolist()]
    return Inputs(keys, index, problems, values.__getitem__, {"columns": columns, "join": JOIN})


def _line(value: Any, column: str) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    text = str(value)
    return " ".join((text.replace("|", ", ") if column in {"genres", "categories"} else text).split())


def images(items: pd.DataFrame, root: Path | None) -> Inputs:
    """Every item's image file. Raises ``ExtractorError`` if the dataset has no images."""
    if "image" not in items.columns or root is None:
        raise ExtractorError(
            "the items have no images", where="--image", remedy="give an items file with a column image, and --images"
        )
    if not Path(root).is_dir():
        raise ExtractorError(
            "the images folder is not there any more", where=root, remedy="prepare again with --images"
        )
    real = Path(root).resolve()

    def look(value: Any) -> tuple[str, Path] | Unusable:
        try:
            path = locate(real, value)
            data = path.read_bytes()
        except OSError as error:
            return Unusable("cannot be read", f"{value}: {error.strerror or error}")
        except Unusable as problem:
            return problem
        return (hashlib.sha256(data).hexdigest(), path) if data else Unusable("empty file", str(value))

    distinct: dict[str, Path] = {}
    order: dict[str, int] = {}
    index = np.full(len(items), -1, dtype=np.int64)
    problems = []
    with ThreadPoolExecutor(4) as pool:
        for item, found in enumerate(pool.map(look, items["image"])):
            if isinstance(found, Unusable):
                problems.append((item, found.kind, found.value))
            else:
                key, path = found
                distinct.setdefault(key, path)
                index[item] = order.setdefault(key, len(order))
    paths = list(distinct.values())

    def load(k: int) -> Image.Image:
        try:
            return decode(paths[k].read_bytes())
        except OSError as error:
            raise Unusable("cannot be read", f"{paths[k].relative_to(real)}: {error}") from error
        except Unusable as problem:
            raise Unusable(problem.kind, f"{paths[k].relative_to(real)}: {problem.value}") from problem

    return Inputs(
        list(distinct), index, problems, load, {"column": "image", "orientation": "EXIF", "alpha": "on white"}
    )


def locate(root: Path, value: Any) -> Path:
    """The file of an ``image`` cell, inside ``root`` (resolved); raises ``Unusable``."""
    if value is None or (isinstance(value, float) and np.isnan(value)) or not str(value).strip():
        raise Unusable("no image given")
    name = str(value)
    if "://" in name or name.startswith("data:"):
        raise Unusable("a URL, not a file", name[:200])
    if "\0" in name:
        raise Unusable("no such file", repr(name[:200]))
    path = (root / name).resolve()
    if not path.is_relative_to(root):
        raise Unusable("outside the images folder", name)
    if not path.is_file():
        raise Unusable("no such file" if not path.exists() else "not a file", name)
    return path


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
