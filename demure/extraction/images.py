"""Collect the distinct image files of the items, each with its hash; they are decoded later, by worker processes.

The stage after ``sources`` and before ``encoding``, for images; for audio and video it is ``media``, for texts and
attributes ``inputs``.
``image_cache`` keeps the hashes. The whole path is in ``extract``.

Shapes: I items, D distinct images.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from demure.errors import ExtractorError
from demure.extraction import decoding
from demure.extraction.decoding import decode_image, possible_reduction
from demure.extraction.hashing import hash_file, hash_input, stack_hashes
from demure.extraction.image_cache import ImageHashCache
from demure.extraction.inputs import Inputs, ItemProblem
from demure.features.kinds import plural
from demure.images.files import ImageFolder
from demure.images.unusable import UnusableInput

if TYPE_CHECKING:
    import pandas as pd

CHANGED = "changed while it was being encoded"
UNREADABLE = "cannot be read"
_READERS = 4  # threads that read and hash files


@dataclass(frozen=True)
class DistinctFiles:
    """The distinct files of the items, by the hash of their bytes.

    ``keys``, ``index`` and ``problems`` as in ``Inputs``; ``paths``: the file of each distinct input, below ``root``.
    """

    keys: np.ndarray
    index: np.ndarray
    problems: list[ItemProblem]
    paths: list[str]
    root: Path


def image_inputs(items: pd.DataFrame, root: Path | None, cache_file: Path | None = None) -> Inputs:
    """Return every item's image file, by the bytes of the file.

    ``root`` is the images folder; ``cache_file`` keeps the hashes, so that unchanged files are not read again. Raises
    ``ExtractorError`` if the dataset has no images.
    """
    files = distinct_files("image", items, root, cache_file)
    load = _Loader(files.paths, files.keys, files.root, {})
    whole = Inputs(files.keys, files.index, files.problems, load, {"column": "image", **decoding.POLICY})
    return replace(whole, reduced=lambda side: _reduced(whole, files.paths, files.root, side))


def distinct_files(kind: str, items: pd.DataFrame, root: Path | None, cache_file: Path | None = None) -> DistinctFiles:
    """Return the distinct files of a kind of ``FILES``; arguments and errors as of ``image_inputs``."""
    option = "--images" if kind == "image" else f"--{kind}"
    if kind not in items.columns or root is None:
        remedy = "give an items file with a column image, and --images" if kind == "image" else f"prepare with {option}"
        raise ExtractorError(f"the items have no {plural(kind)}", where=f"--{kind}", remedy=remedy)
    if not Path(root).is_dir():
        raise ExtractorError(
            f"the folder of {plural(kind)} is not there any more", where=root, remedy=f"prepare again with {option}"
        )
    folder = ImageFolder(root, kind)
    names = items[kind].tolist()
    cache = ImageHashCache(cache_file, folder.root, names)

    def read(item: int) -> tuple[bytes, str] | UnusableInput:
        return _hash_file(folder, names[item])

    changed = np.flatnonzero(~cache.unchanged).tolist()
    with ThreadPoolExecutor(_READERS) as threads:
        results = dict(zip(changed, threads.map(read, changed), strict=True))
    numbers: dict[bytes, int] = {}
    paths: list[str] = []
    index = np.full(len(items), -1, dtype=np.int64)
    problems = []
    for item in range(len(names)):
        result = results.get(item)
        if isinstance(result, UnusableInput):
            problems.append(ItemProblem(item, result.kind, result.value))
            continue
        if result is None:
            key, path = cache.hashes[item].tobytes(), os.path.join(folder.root, names[item])
        else:
            key, path = result
            cache.hashes[item] = np.frombuffer(key, dtype=np.uint8)
        if key not in numbers:
            numbers[key] = len(paths)
            paths.append(path)
        index[item] = numbers[key]
    cache.store(index >= 0)
    return DistinctFiles(stack_hashes(list(numbers)), index, problems, paths, folder.root)


def _reduced(whole: Inputs, paths: list[str], root: Path, side: int) -> Inputs:
    """Return the images, of which the large ones are decoded at a reduced size, and so have another hash."""

    def reduction(path: str) -> int:
        try:
            with open(path, "rb") as file:
                return possible_reduction(file, side)
        except OSError:
            return 1

    with ThreadPoolExecutor(_READERS) as threads:
        reductions = {k: factor for k, factor in enumerate(threads.map(reduction, paths)) if factor > 1}
    keys = whole.keys.copy()
    for k, factor in reductions.items():
        data = whole.keys[k].tobytes() + f"decoded at 1/{factor}".encode()
        keys[k] = np.frombuffer(hash_input(data), dtype=np.uint8)
    return replace(whole, keys=keys, load=_Loader(paths, whole.keys, root, reductions))


def _hash_file(folder: ImageFolder, name: Any) -> tuple[bytes, str] | UnusableInput:
    """Return the hash and path of a file, or why it cannot be used."""
    try:
        path = folder.locate(name)
        if folder.kind == "image":
            data = path.read_bytes()
            key, size = hash_input(data), len(data)
        else:  # may be larger than memory
            key, size = hash_file(path)
    except OSError as error:
        return UnusableInput(UNREADABLE, f"{name}: {error.strerror or error}")
    except UnusableInput as problem:
        return problem
    return (key, str(path)) if size else UnusableInput("empty file", str(name))


class ImageFile(NamedTuple):
    """One image file; JSON holds it. ``name`` is for messages, ``key`` the hash of its bytes in hexadecimal digits,
    ``reduction`` by how much both sides are divided."""

    path: str
    name: str
    key: str
    reduction: int

    def load(self) -> Image.Image:
        """Decode the file, and refuse one that has changed since it was hashed. Raises ``UnusableInput``."""
        try:
            data = Path(self.path).read_bytes()
            if hash_input(data).hex() != self.key:
                raise UnusableInput(CHANGED, "run again")
            return decode_image(data, self.reduction)
        except OSError as error:
            raise UnusableInput(UNREADABLE, f"{self.name}: {error}") from error
        except UnusableInput as problem:
            raise UnusableInput(problem.kind, f"{self.name}: {problem.value}") from problem

    def is_unchanged(self) -> bool:
        """Return whether the file is the one that was hashed."""
        try:
            return hash_input(Path(self.path).read_bytes()).hex() == self.key
        except OSError:
            return False


@dataclass(frozen=True)
class _Loader:
    """Decodes distinct image k; worker processes get a copy. ``reductions``: image -> by how much both sides are
    divided."""

    paths: list[str]
    keys: np.ndarray
    root: Path
    reductions: dict[int, int]

    def file(self, k: int) -> ImageFile:
        path = self.paths[k]
        return ImageFile(
            path, os.path.relpath(path, self.root), self.keys[k].tobytes().hex(), self.reductions.get(k, 1)
        )

    def __call__(self, k: int) -> Image.Image:
        return self.file(k).load()
