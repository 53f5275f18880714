"""The files of the items (images, audio, video): which path belongs to which item."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from demure.errors import DataError
from demure.images.files import ImageFolder
from demure.images.unusable import UnusableInput
from demure.preparation.file_contents import CONTENTS, IMAGES, FileContent
from demure.preparation.image_matching import match_images
from demure.preparation.image_spellings import find_other_spellings
from demure.preparation.item_columns import URL
from demure.preparation.items import Items
from demure.preparation.problems import Findings


def locate_images(
    items: Items, images: Path | None, items_file: Path | None, findings: Findings, catalogue: Items | None = None
) -> tuple[Items, Path | None]:
    """Return the items with a column ``image`` relative to a root, and the root; (items, None) without images.

    The root is ``images``, else the items file's folder. Where no column names the images, or it has URLs, the image
    of an item is the file below ``images`` that ``match_images`` is certain of. Missing files are reported; their names
    are kept. ``catalogue``: all items before filters, which own their images too.
    """
    return _locate(IMAGES, items, images, items_file, findings, catalogue)


def locate_media(
    items: Items,
    folders: Mapping[str, Path],
    items_file: Path | None,
    findings: Findings,
    catalogue: Items | None = None,
) -> tuple[Items, dict[str, Path]]:
    """Return the items with a column for each kind of ``folders``, and the root of each, as ``locate_images`` does."""
    roots: dict[str, Path] = {}
    for kind, folder in folders.items():
        items, root = _locate(CONTENTS[kind], items, folder, items_file, findings, catalogue)
        assert root is not None  # since a folder is given
        roots[kind] = root
    return items, roots


def _locate(
    content: FileContent,
    items: Items,
    images: Path | None,
    items_file: Path | None,
    findings: Findings,
    catalogue: Items | None,
) -> tuple[Items, Path | None]:
    if images is not None and not images.is_dir():
        raise DataError("no such folder", where=images, remedy=f"check {content.option}")
    if content.kind not in items.columns and images is None:
        return items, None
    root = images if images is not None else items_file.parent if items_file is not None else Path()
    folder = ImageFolder(root, content.kind)
    catalogue = catalogue or items
    cells = catalogue.columns.get(content.kind, np.full(len(catalogue.ids), None, dtype=object))
    names, exists = _name_files(content, catalogue.ids, cells, folder, images, findings)
    if catalogue is not items:
        position = {item_id: k for k, item_id in enumerate(catalogue.ids)}
        positions = np.array([position[item_id] for item_id in items.ids], dtype=np.int64)
        cells, names, exists = cells[positions], names[positions], exists[positions]
    _report(content, items, folder, items_file or root, cells, names, exists, findings)
    files = [name for name in names if name is not None and not URL.match(name)]
    if files and not exists.any():
        right_root = _root_of(files[0], root)
        hint = f"; {right_root} has it: give {content.option} {right_root}" if right_root else ""
        findings.note(f"{content.option}: no {content.kind} file is there, for example {root / files[0]}{hint}")
    columns = {name: column for name, column in items.columns.items() if name != content.kind} | {content.kind: names}
    return replace(items, columns=columns), folder.root


def _name_files(
    content: FileContent,
    ids: np.ndarray,
    cells: np.ndarray,
    folder: ImageFolder,
    images: Path | None,
    findings: Findings,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the names of the items' files (I,), and whether they are there (I,) bool.

    ``cells`` (I,) are the cells of the items file; a cell for which there is no file stays as it is.
    """
    names = cells.copy()
    exists = np.array([folder.find(name) is not None for name in names], bool)
    is_file_name = np.array([name is not None and not URL.match(name) for name in names], bool)
    spelled = find_other_spellings(folder, names[is_file_name & ~exists], names[exists], content.suffixes)
    for k in np.flatnonzero(is_file_name & ~exists):
        if names[k] in spelled:
            names[k], exists[k] = spelled[names[k]], True
    # Where some items have a file name and the others nothing, the others have no image.
    if images is not None and (not is_file_name.any() or any(names[~is_file_name])):
        matches = match_images(ids, names, images, findings, content)
        for item, file in matches.items():
            if folder.find(file) is not None:  # else it is a folder, or a link that leads nowhere
                names[item], exists[item] = file, True
        n_unnamed, n_found = int((~is_file_name).sum()), int((exists & ~is_file_name).sum())
        counts = f"{n_found} of {n_unnamed} {content.plural} found by the item's id or the address"
        findings.note(f"{content.option}: {counts}")
    return names, exists


def _report(
    content: FileContent,
    items: Items,
    folder: ImageFolder,
    where: Path,
    cells: np.ndarray,
    names: np.ndarray,
    exists: np.ndarray,
    findings: Findings,
) -> None:
    rows = items.row_numbers.of(items.rows)
    is_url = np.array([name is not None and bool(URL.match(name)) for name in names], bool)
    missing = np.flatnonzero([name is not None for name in names] & ~is_url & ~exists)
    is_outside = np.array([_is_outside(folder, name) for name in names[missing]], bool)

    def add(kind: str, without: np.ndarray) -> None:
        findings.add(kind, f"kept without {content.kind}", where, rows[without], lambda k: names[without[k]])

    add(f"{content.kind} is a URL", np.flatnonzero(is_url))
    add(f"{content.kind} file not there", missing[~is_outside])
    add(f"{content.kind} file outside the {content.folder}", missing[is_outside])
    was_file = np.array([name is not None and not URL.match(name) for name in cells], bool)
    spelled = np.flatnonzero(was_file & (cells != names))
    kind = f"{content.kind} file with another spelling"

    def spelling(k: int) -> str:
        old, new = str(cells[spelled[k]]), str(names[spelled[k]])
        is_same_on_screen = unicodedata.normalize("NFC", old) == unicodedata.normalize("NFC", new)
        return f"{old} found as {ascii(new) if is_same_on_screen else new}"

    findings.add(kind, "found", where, rows[spelled], spelling)


def _is_outside(folder: ImageFolder, name: str) -> bool:
    try:
        folder.locate(name)
    except UnusableInput as problem:
        return problem.kind.startswith("outside the ")
    return False


def _root_of(name: str, root: Path) -> Path | None:
    """Return the folder above or below ``root`` that ``name`` is relative to."""
    below = sorted(folder for folder in root.iterdir() if folder.is_dir())
    above = Path(os.path.realpath(root)).parent
    return next((folder for folder in (above, *below) if ImageFolder(folder).find(name)), None)
