"""Which file (image, audio, video) belongs to an item that names none: never one that could as well be another's.

Evidence, strongest first: the whole address of the item's image, the item's id, and the last part of its address. The
last parts count only where they tell all items apart and none is another item's id: shops number the pictures of each
product from 1, and ids are numbers too.
"""

from __future__ import annotations

import posixpath
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import numpy as np

from demure.preparation.fetch.log import FetchLog, hashed_stem
from demure.preparation.file_contents import IMAGES, FileContent
from demure.preparation.item_columns import URL, absolute_url
from demure.preparation.problems import Findings
from demure.preparation.reading.columns import ColumnSelection
from demure.preparation.reading.jsonl import read_jsonl


class _Claim(NamedTuple):
    """An item takes a file; claims of the same ``evidence`` may share it. ``strength``: the larger, the stronger."""

    strength: int
    file: str
    evidence: str


class ImageListing:
    """The image files below a folder, by the names that lead to them.

    Attributes:
        paths: all files, relative to the folder, the first of them in order of depth and path.
        by_stem: a file's name without suffix -> its files.
        by_path: a file's path, with its suffix, and where it has a folder also without -> the file.
        fetched: (item id, URL) -> the file that `demure images fetch` has written for it; ``by_url``: URL -> file.
        by_listing: item id -> file, by Yelp's photos.json.
    """

    def __init__(self, folder: Path, content: FileContent = IMAGES) -> None:
        files = (path for path in folder.rglob("*") if path.suffix.lower() in content.suffixes and path.name[0] != ".")
        paths = [path.relative_to(folder).as_posix() for path in files]
        self.paths = dict.fromkeys(sorted(paths, key=lambda path: (path.count("/"), path)))
        self.by_stem: dict[str, list[str]] = defaultdict(list)
        self.by_path = {path: path for path in self.paths}
        for path in self.paths:
            self.by_stem[Path(path).stem].append(path)
            if "/" in path:
                self.by_path.setdefault(path.removesuffix(Path(path).suffix), path)
        outcomes = FetchLog(folder).read().items()
        self.fetched = {key: outcome.file for key, outcome in outcomes if outcome.file in self.paths}
        self.by_url = {url: file for (_, url), file in self.fetched.items()}
        self.by_listing = self._read_listing(folder)

    def _read_listing(self, folder: Path) -> dict[str, str]:
        """Return business -> the first of its photos; these have ids of their own, which are then not the items'."""
        paths = (folder / "photos.json", folder.parent / "photos.json")
        listing = next((path for path in paths if path.is_file()), None)
        if listing is None:
            return {}
        table = read_jsonl(listing, Findings(), ColumnSelection(items=True)).table
        if not {"photo_id", "business_id"} <= set(table.column_names):
            return {}
        items: dict[str, str] = {}
        for item, photo in zip(table["business_id"].to_pylist(), table["photo_id"].to_pylist(), strict=True):
            for path in self.by_stem.pop(photo, [])[:1]:
                items.setdefault(item, path)
        return items


def match_images(
    ids: np.ndarray, names: np.ndarray, folder: Path, findings: Findings, content: FileContent = IMAGES
) -> dict[int, str]:
    """Return position -> file of the kind ``content`` below ``folder``, for those of the items ``ids`` (I,) where it is
    certain.

    ``names`` (I,) are their cells: URLs or None, or file names, whose items get none. Notes what was not certain.
    """
    listing = ImageListing(folder, content)
    unnamed = [k for k, name in enumerate(names) if name is None or URL.match(name)]
    taken = {posixpath.normpath(name) for name in names if name is not None and not URL.match(name)}
    urls = {k: absolute_url(names[k]) for k in unnamed if names[k] is not None}
    last_parts = _last_parts(ids, urls, listing, findings, content)
    same_form = Counter(_form(item_id) for item_id in ids)
    by_form: dict[str, set[str]] = defaultdict(set)
    for stem in listing.by_stem:
        by_form[_form(stem)].add(stem)
    n_several = 0

    def claims(k: int) -> Iterator[_Claim]:
        nonlocal n_several
        item_id, url = ids[k], urls.get(k, "")
        file = listing.fetched.get((item_id, url)) or listing.by_url.get(url) or _at_host_and_path(url, listing)
        if file:
            yield _Claim(4, file, url)
        if item_id in listing.by_path:  # "a/b" is the id of a/b.jpg rather than "b" is
            yield _Claim(3, listing.by_path[item_id], item_id)
        if item_id in listing.by_listing:
            yield _Claim(3, listing.by_listing[item_id], item_id)
        form = _form(item_id)
        other_forms = by_form[form] if same_form[form] == len(by_form.get(form, ())) == 1 else ()
        for strength, stem in ((3, hashed_stem(item_id)), (2, item_id), *((1, stem) for stem in other_forms)):
            if stem in listing.by_stem:
                n_several += len(listing.by_stem[stem]) > 1
                yield _Claim(strength, listing.by_stem[stem][0], item_id)
        if url in last_parts:
            yield _Claim(0, last_parts[url], url)

    best = {k: claim for k in unnamed if (claim := next(claims(k), None)) is not None}
    by_file: dict[str, list[int]] = defaultdict(list)
    for k, claim in best.items():
        if claim.file not in taken:
            by_file[claim.file].append(k)
    matches = {k: file for file, claimants in by_file.items() for k in _owners(claimants, best)}
    if n_several:
        findings.note(
            f"{content.option}: {n_several} items have several files of their name; the first by path is taken"
        )
    n_unsure = len(best) - len(matches)
    if n_unsure:
        problem = f"{n_unsure} items get no {content.kind}, since theirs could as well be another item's"
        findings.note(f"{content.option}: {problem}")
    return matches


def _owners(claimants: list[int], claims: dict[int, _Claim]) -> list[int]:
    """Return the items with the strongest claim to a file; none if these have it for different reasons."""
    strongest = max(claims[k].strength for k in claimants)
    owners = [k for k in claimants if claims[k].strength == strongest]
    return owners if len({claims[k].evidence for k in owners}) == 1 else []


def _last_parts(
    ids: np.ndarray, urls: dict[int, str], listing: ImageListing, findings: Findings, content: FileContent
) -> dict[str, str]:
    """Return URL -> the one file that its last part names; empty where last parts do not tell the items apart."""
    parts = {url: part for url in dict.fromkeys(urls.values()) if (part := _last_part(url))}
    files = {url: listing.by_stem[part][0] for url, part in parts.items() if len(listing.by_stem.get(part, ())) == 1}
    if not files:
        return {}
    counts = Counter(part.casefold() for part in parts.values())
    owners: dict[str, set[str]] = defaultdict(set)  # id -> the URL of the item that has it
    for k, item_id in enumerate(ids):
        owners[item_id.casefold()].add(urls.get(k, ""))
    n_shared = sum(counts[part.casefold()] > 1 for part in parts.values())
    n_ids = sum(owners[part.casefold()] - {url} != set() for url, part in parts.items() if part.casefold() in owners)
    if n_shared or n_ids:
        findings.note(
            f"{content.option}: the last parts of the URLs do not tell the items apart ({n_shared} are shared, "
            f"{n_ids} are the id of another item), so no {content.kind} is found by them"
        )
        return {}
    return files


def _last_part(url: str) -> str:
    """Return the last part of a URL's path without its suffix, and decoded."""
    return Path(unquote(_split(url)[1].rpartition("/")[2])).stem


def _at_host_and_path(url: str, listing: ImageListing) -> str | None:
    """Return the file at host/path, as wget and similar tools write it."""
    path = unquote("".join(_split(url)))
    return path if path in listing.paths else None


def _split(url: str) -> tuple[str, str]:
    """Return host and path of a URL, empty for one that is not valid."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", ""
    return parts.netloc, parts.path


def _form(name: str) -> str:
    """Return a name in the one form (NFC) that all ways to write its letters have in common."""
    return unicodedata.normalize("NFC", name)
