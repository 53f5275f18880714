"""Where the items' images are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from demure.data.images import is_file
from demure.errors import DataError
from demure.prepare.fetch.log import stem
from demure.prepare.items import URL, Items
from demure.prepare.problems import Findings
from demure.prepare.reading.columns import Wanted
from demure.prepare.reading.tables import read_lines

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")


def locate_images(
    items: Items, images: Path | None, path: Path | None, findings: Findings
) -> tuple[Items, Path | None]:
    """The items with an ``image`` column relative to the root, and the root; (items, None) where there are no images.

    The root is ``--images``, else the items file's folder. Where no column names the images, or it holds URLs, an
    image's name in ``--images``, or in a folder in it, is the item's id or the URL's last part; or Yelp's photos.json
    tells. What is not there is reported and kept.
    """
    if images is not None and not images.is_dir():
        raise DataError("no such folder", where=images, remedy="check --images")
    if "image" not in items.columns and images is None:
        return items, None
    root = images if images is not None else path.parent if path is not None else Path()
    values = items.columns.get("image", np.full(len(items.ids), None, dtype=object)).copy()
    if images is not None:
        remote = np.array([value is None or bool(URL.match(value)) for value in values])
        named = "image" in items.columns and not all(value is None for value in values)
        if remote.any() and not (named and all(value is None for value in values[remote])):
            names = _names(images)
            found = 0
            for k in np.flatnonzero(remote):
                name = (
                    names.get(items.ids[k])
                    or names.get(stem(items.ids[k]))
                    or (names.get(Path(str(values[k])).stem) if values[k] else None)
                )
                values[k], found = name or values[k], found + bool(name)
            findings.note(f"--images: {found} images found by the item's id or the URL's last part")
    rows, where = items.rows + items.first_row, path or root
    urls = np.flatnonzero([value is not None and bool(URL.match(value)) for value in values])
    findings.add("image is a URL", "kept without image", where, rows[urls], lambda k: values[urls[k]])
    files = np.flatnonzero([value is not None and not URL.match(value) for value in values])
    absent = files[[not is_file(root, values[k]) for k in files]] if len(files) else files
    findings.add("image file not there", "kept without image", where, rows[absent], lambda k: values[absent[k]])
    if len(absent) and len(absent) == len(files):
        elsewhere = _root_of(str(values[absent[0]]), root)
        meant = f"; {elsewhere} has it: give --images {elsewhere}" if elsewhere else ""
        findings.note(f"--images: no image file is there, for example {root / str(values[absent[0]])}{meant}")
    columns = {name: column for name, column in items.columns.items() if name != "image"} | {"image": values}
    return replace(items, columns=columns), root.resolve()


def _root_of(name: str, root: Path) -> Path | None:
    """The folder above or below ``root`` that ``name`` is relative to."""
    below = sorted(folder for folder in root.iterdir() if folder.is_dir())
    return next((folder for folder in (root.resolve().parent, *below) if is_file(folder, name)), None)


def _names(images: Path) -> dict[str, str]:
    """Item id, or an image's name without suffix -> its path below ``images``; the first in order of the paths."""
    found: dict[str, str] = {}
    below = (file.relative_to(images).as_posix() for file in images.rglob("*") if file.suffix.lower() in _SUFFIXES)
    for path in sorted(below, key=lambda path: (path.count("/"), path)):
        found.setdefault(Path(path).stem, path)
    listed = next((at / "photos.json" for at in (images, images.parent) if (at / "photos.json").is_file()), None)
    if listed is not None:  # Yelp: photos are named by ids of their own
        table = read_lines(listed, Findings(), Wanted(items=True)).table
        if {"photo_id", "business_id"} <= set(table.column_names):
            pairs = zip(table["business_id"].to_pylist(), table["photo_id"].to_pylist(), strict=True)
            found = {one: found[photo] for one, photo in reversed(list(pairs)) if photo in found} | found
    return found
