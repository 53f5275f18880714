"""The versions of a folder at a URL.

A folder that demure writes at a URL holds ``demure-000001.json``, ``demure-000002.json`` and so on: each lists the
files of a version, the highest number is the present one. The files are at ``demure-files/``, named by their hashes, so
that no version changes a file of another. A list is written last, under a name that is not there yet: until then a
reader gets the version before, and never a mix. A list that is cut off fails its own hash and does not count.

A folder that another program has copied to a URL (`aws s3 sync`, `rclone`) has no such list. It is read as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from demure import __version__
from demure.errors import StorageError
from demure.integrity import SEAL, sealed
from demure.storage.location import Location, mark

FORMAT_VERSION = 1
FILES = "demure-files"
_LIST = re.compile(r"demure-(\d{6,})\.json")
_MANIFESTS = ("dataset.json", "run.json", "splits.json", "study.json", "export.json")
_LEVELS = 3  # a folder such as demo/runs/demure is part of one that was uploaded as a whole


@dataclass(frozen=True)
class StoredFile:
    """A file at a URL: its ``key`` below the URL, its ``size`` in bytes and ``sha256``.

    ``sha256`` is None for a file that another program has copied there; ``mark`` then changes with its content.
    """

    key: str
    size: int
    sha256: str | None = None
    mark: str = ""

    @property
    def id(self) -> str:
        """A name for its content."""
        return self.sha256 or hashlib.sha256(f"{self.key} {self.mark}".encode()).hexdigest()

    def to_dict(self) -> dict[str, str | int | None]:
        """Return the entry of the file in a list."""
        own: dict[str, str | int | None] = {"key": self.key, "size": self.size, "sha256": self.sha256}
        return own if self.sha256 else {**own, "mark": self.mark}


@dataclass(frozen=True)
class Version:
    """One version of a folder: ``files`` by their paths in the folder, and symbolic ``links`` to other paths there.

    ``number`` counts from 1; 0 stands for a folder without a list, that another program has copied.
    """

    number: int
    files: Mapping[str, StoredFile]
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """A name for the version, from its number and content."""
        content = {name: file.id for name, file in self.files.items()}
        text = json.dumps([content, dict(self.links)], sort_keys=True)
        return f"{self.number:06d}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def holds_the_same(self, other: Version) -> bool:
        """Return whether both have the same files with the same content."""
        return self.links == other.links and _contents(self) == _contents(other)

    def to_bytes(self) -> bytes:
        """Return the content of its list."""
        content = {
            "format_version": FORMAT_VERSION,
            "demure_version": __version__,
            "number": self.number,
            "files": {name: file.to_dict() for name, file in self.files.items()},
            "links": dict(self.links),
        }
        return (json.dumps(sealed(content), indent=1) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Version | None:
        """Return the version that a list describes; None for one that is cut off, was changed, or names other places.

        Raises ``ValueError`` if it is of another format version.
        """
        try:
            content = json.loads(data)
            if not isinstance(content, dict) or sealed(content)[SEAL] != content.get(SEAL):
                return None
        except ValueError:
            return None
        if content["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format version {content['format_version']!r}, not {FORMAT_VERSION}")
        files = {name: StoredFile(**file) for name, file in content["files"].items()}
        paths = [*files, *content["links"], *(file.key for file in files.values())]
        if not all(map(is_inside, paths)) or not all(points_inside(*link) for link in content["links"].items()):
            return None
        return cls(content["number"], files, content["links"])


def is_inside(name: str) -> bool:
    """Return whether the path ``name`` of a file stays in its folder."""
    parts = name.replace("\\", "/").split("/")
    return bool(name) and ".." not in parts and "" not in parts and ":" not in parts[0]


def points_inside(name: str, target: str) -> bool:
    """Return whether the symbolic link ``name`` to ``target`` stays in its folder: others may have made the list."""
    target = target.replace("\\", "/")
    path = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    return not target.startswith("/") and ":" not in target.split("/")[0] and path.split("/")[0] not in ("..", ".")


def list_name(number: int) -> str:
    """Return the name of the list of version ``number``."""
    return f"demure-{number:06d}.json"


def newest(location: Location) -> Version | None:
    """Return the present version of a folder; None where there is none.

    Raises ``StorageError`` if it cannot be read, or was written by another demure.
    """
    entries = location.entries()
    for name in numbered(entries):
        try:
            version = Version.from_bytes(location.read(name))
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError) as error:
            where = f"{location.url}/{name}"
            raise StorageError(f"has {error}", where=where, remedy="read it with the demure that made it") from error
        if version is not None:
            return version
    if not any(name in entries for name in _MANIFESTS):
        return None
    return copied(location)


def numbered(entries: Mapping[str, Any]) -> list[str]:
    """Return the names of lists, the highest number first."""
    names = [(int(match[1]), name) for name in entries if (match := _LIST.fullmatch(name))]
    return [name for _, name in sorted(names, reverse=True)]


def copied(location: Location, below: str = "") -> Version:
    """Return the files that another program has copied to a URL as a version, number 0."""
    entries = location.files(below)
    folders = {name.rpartition("/")[0] for name in entries}  # some programs write an empty object for a folder, too
    files = {
        name: StoredFile(name, int(entry["size"]), mark=mark(entry))
        for name, entry in sorted(entries.items())
        if not name.startswith(f"{FILES}/") and not _LIST.fullmatch(name) and is_inside(name) and name not in folders
    }
    return Version(0, files)


def find_version(location: Location) -> tuple[Location, Version, str] | None:
    """Return the folder with its version that a URL names, and the path of the URL in it; None if there is none.

    The folder is that of the URL, or one above it that was uploaded as a whole. Raises as :func:`newest`.
    """
    version = newest(location)
    if version is not None:
        return location, version, ""
    path, above = "", location.parent()
    for _ in range(_LEVELS):
        if above is None:
            break
        folder, name = above
        path = f"{name}/{path}".rstrip("/")
        with contextlib.suppress(StorageError):  # a bucket whose top may not be listed
            version = newest(folder) if folder.has(FILES) else None
        if version is not None and any(file.startswith(path + "/") for file in [*version.files, *version.links]):
            return folder, version, path
        above = folder.parent()
    return None


def _contents(version: Version) -> dict[str, str]:
    return {name: file.id for name, file in version.files.items()}
