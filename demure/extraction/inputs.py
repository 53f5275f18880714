"""What goes into an encoder: an item's text, image or attributes. Identical inputs are one; unusable ones a problem."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from demure.errors import ExtractorError
from demure.extraction import cleaning, decoding
from demure.extraction.columns import cells
from demure.extraction.decoding import Unusable, decode
from demure.extraction.image_cache import Seen

if TYPE_CHECKING:
    import pandas as pd

JOIN = "all text columns in the order of the items file, one line each; '|' in genres and categories read as ', '"
JOIN_CHOSEN = JOIN.replace("all text columns", "these columns")
KEY = 16
Problem = tuple[int, str, str]


@dataclass(frozen=True)
class Inputs:
    """``keys`` (D, 16) uint8: a hash per distinct input, by first item; ``index`` (I,) item -> distinct input, -1 where
    unusable.

    ``load(k)`` gives distinct input k, or raises ``Unusable``; ``problems`` are (item, kind, value).
    """

    keys: np.ndarray
    index: np.ndarray
    problems: list[Problem]
    load: Callable[[int], Any]
    facts: dict[str, Any]


def _hash(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:KEY]


def _keys(found: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(found), dtype=np.uint8).reshape(len(found), KEY)


def texts(items: pd.DataFrame, columns: list[str], *, chosen: bool = False) -> Inputs:
    """Every item's text; see ``JOIN``. ``chosen`` columns are recorded as not being all of them. Raises
    ``ExtractorError`` if the dataset has no text column."""
    if not columns:
        raise ExtractorError(
            "the items have no text",
            where="--text",
            remedy="give an items file with title, description, text or genres",
        )
    distinct: dict[str, int] = {}
    index = np.full(len(items), -1, dtype=np.int64)
    for item, row in enumerate(zip(*(items[column] for column in columns), strict=True)):
        lines = [_line(value, column) for value, column in zip(row, columns, strict=True)]
        joined = "\n".join(line for line in lines if line)
        if joined:
            index[item] = distinct.setdefault(joined, len(distinct))
    values = list(distinct)
    problems = [(item, "empty text", "") for item in np.flatnonzero(index < 0).tolist()]
    facts = {"columns": columns, "join": JOIN_CHOSEN if chosen else JOIN, "cleaning": cleaning.POLICY}
    return Inputs(_keys([_hash(one.encode()) for one in values]), index, problems, values.__getitem__, facts)


def attributes(items: pd.DataFrame, columns: list[str]) -> Inputs:
    """Every item's cells in ``columns``: ``load`` gives a dict of all columns, None where an item has nothing."""
    distinct: dict[str, int] = {}
    index = np.full(len(items), -1, dtype=np.int64)
    for item, row in enumerate(zip(*(cells(items, column) for column in columns), strict=True)):
        if any(cell is not None for cell in row):
            index[item] = distinct.setdefault(json.dumps(row), len(distinct))
    rows = list(distinct)
    problems = [(item, "no attribute given", "") for item in np.flatnonzero(index < 0).tolist()]
    facts = {"columns": columns, "cleaning": cleaning.POLICY}
    names = json.dumps(columns)  # the same cells in other columns are another input

    def load(k: int) -> dict[str, str | None]:
        return dict(zip(columns, json.loads(rows[k]), strict=True))

    return Inputs(_keys([_hash((names + row).encode()) for row in rows]), index, problems, load, facts)


def _line(value: Any, column: str) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    text = str(value)
    return cleaning.clean(text.replace("|", ", ") if column in {"genres", "categories"} else text)


def images(items: pd.DataFrame, root: Path | None, memory: Path | None = None) -> Inputs:
    """Every item's image file. Raises ``ExtractorError`` if the dataset has no images.

    ``memory`` is a file that remembers the hashes of image files: those that have not changed are not read again.
    """
    if "image" not in items.columns or root is None:
        raise ExtractorError(
            "the items have no images", where="--image", remedy="give an items file with a column image, and --images"
        )
    if not Path(root).is_dir():
        raise ExtractorError(
            "the images folder is not there any more", where=root, remedy="prepare again with --images"
        )
    real = Path(root).resolve()
    names = items["image"].tolist()
    seen = Seen(memory, real, names)

    def look(item: int) -> tuple[bytes, str] | Unusable:
        value = names[item]
        try:
            path = locate(real, value)
            data = path.read_bytes()
        except OSError as error:
            return Unusable("cannot be read", f"{value}: {error.strerror or error}")
        except Unusable as problem:
            return problem
        return (_hash(data), str(path)) if data else Unusable("empty file", str(value))

    order: dict[bytes, int] = {}
    paths: list[str] = []
    index = np.full(len(items), -1, dtype=np.int64)
    problems = []
    unknown = np.flatnonzero(~seen.same).tolist()
    with ThreadPoolExecutor(4) as pool:
        looked = dict(zip(unknown, pool.map(look, unknown), strict=True))
    for item in range(len(names)):
        found = looked.get(item)
        if isinstance(found, Unusable):
            problems.append((item, found.kind, found.value))
            continue
        key, path = found if found is not None else (seen.keys[item].tobytes(), os.path.join(real, names[item]))
        if found is not None:
            seen.keys[item] = np.frombuffer(key, dtype=np.uint8)
        if key not in order:
            order[key] = len(paths)
            paths.append(path)
        index[item] = order[key]
    seen.remember(index >= 0)
    keys = _keys(list(order))
    del order, looked, unknown

    def load(k: int) -> Image.Image:
        name = os.path.relpath(paths[k], real)
        try:
            data = Path(paths[k]).read_bytes()
            if _hash(data) != keys[k].tobytes():
                raise Unusable("changed while it was being encoded", "run again")
            return decode(data)
        except OSError as error:
            raise Unusable("cannot be read", f"{name}: {error}") from error
        except Unusable as problem:
            raise Unusable(problem.kind, f"{name}: {problem.value}") from problem

    return Inputs(keys, index, problems, load, {"column": "image", **decoding.POLICY})


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
