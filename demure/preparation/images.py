"""The image files of the items: which path belongs to which item."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from demure.data.image_files import image_exists
from demure.errors import DataError
from demure.preparation.fetch.log import image_stem
from demure.preparation.items import URL, Items
from demure.preparation.problems import Findings
from demure.preparation.reading.columns import ColumnSelection
from demure.preparation.reading.jsonl import read_jsonl

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")


def locate_images(
    items: Items, images: Path | None, items_file: Path | None, findings: Findings
) -> tuple[Items, Path | None]:
    """Return the items with a column ``image`` relative to a root, and the root; (items, None) without images.

    The root is ``images``, else the items file's folder. Where no column names the images, or it has URLs, the image
    of an item is the file below ``images`` that is named by the item's id or by the last part of the URL, or the file
    that Yelp's photos.json names. Missing files are reported; their names are kept.
    """
    if images is not None and not images.is_dir():
        raise DataError("no such folder", where=images, remedy="check --images")
    if "image" not in items.columns and images is None:
        return items, None
    root = images if images is not None else items_file.parent if items_file is not None else Path()
    names = items.columns.get("image", np.full(len(items.ids), None, dtype=object)).copy()
    if images is not None:
        _find_by_id(items, names, images, findings)
    rows, where = items.row_numbers.of(items.rows), items_file or root
    urls = np.flatnonzero([name is not None and bool(URL.match(name)) for name in names])
    findings.add("image is a URL", "kept without image", where, rows[urls], lambda k: names[urls[k]])
    files = np.flatnonzero([name is not None and not URL.match(name) for name in names])
    missing = files[[not image_exists(root, names[k]) for k in files]] if len(files) else files
    findings.add("image file not there", "kept without image", where, rows[missing], lambda k: names[missing[k]])
    if len(missing) and len(missing) == len(files):
        example = str(names[missing[0]])
        right_root = _root_of(example, root)
        hint = f"; {right_root} has it: give --images {right_root}" if right_root else ""
        findings.note(f"--images: no image file is there, for example {root / example}{hint}")
    columns = {name: column for name, column in items.columns.items() if name != "image"} | {"image": names}
    return replace(items, columns=columns), root.resolve()


def _find_by_id(items: Items, names: np.ndarray, images: Path, findings: Findings) -> None:
    """Replace each missing name or URL in ``names`` (I,) by the file of the item's id or of the URL's last part."""
    is_unnamed = np.array([name is None or bool(URL.match(name)) for name in names])
    has_file_names = "image" in items.columns and not all(name is None for name in names)
    # Where some items have a file and the others nothing, the others have no image.
    if not is_unnamed.any() or (has_file_names and all(name is None for name in names[is_unnamed])):
        return
    files = _files_by_name(images)
    n_matches = 0
    for k in np.flatnonzero(is_unnamed):
        file = (
            files.get(items.ids[k])
            or files.get(image_stem(items.ids[k]))
            or (files.get(Path(str(names[k])).stem) if names[k] else None)
        )
        names[k], n_matches = file or names[k], n_matches + bool(file)
    findings.note(f"--images: {n_matches} images found by the item's id or the URL's last part")


def _root_of(name: str, root: Path) -> Path | None:
    """Return the folder above or below ``root`` that ``name`` is relative to."""
    below = sorted(folder for folder in root.iterdir() if folder.is_dir())
    return next((folder for folder in (root.resolve().parent, *below) if image_exists(folder, name)), None)


def _files_by_name(images: Path) -> dict[str, str]:
    """Return item id, or an image's name without suffix -> its path below ``images``; the first in order of paths."""
    files: dict[str, str] = {}
    paths = (file.relative_to(images).as_posix() for file in images.rglob("*") if file.suffix.lower() in _SUFFIXES)
    for path in sorted(paths, key=lambda path: (path.count("/"), path)):
        files.setdefault(Path(path).stem, path)
    folders = (images, images.parent)
    listing = next((folder / "photos.json" for folder in folders if (folder / "photos.json").is_file()), None)
    if listing is not None:  # Yelp: photos are named by ids of their own
        table = read_jsonl(listing, Findings(), ColumnSelection(items=True)).table
        if {"photo_id", "business_id"} <= set(table.column_names):
            pairs = zip(table["business_id"].to_pylist(), table["photo_id"].to_pylist(), strict=True)
            # Reversed, so that a business has the first of its photos.
            files = {item: files[photo] for item, photo in reversed(list(pairs)) if photo in files} | files
    return files
