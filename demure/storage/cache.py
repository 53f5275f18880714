"""The local cache of folders and files at URLs.

    CACHE/folders/HASH/url.txt              the URL, without secrets
    CACHE/folders/HASH/ID/version.json      the list of files of version ID
    CACHE/folders/HASH/ID/NAME/             its files; NAME is the last part of the URL
    CACHE/folders/HASH/fetching/            files that are not complete yet, from which another process goes on
    CACHE/work/HASH/NAME/                   the next version of a folder, while a command makes it

A process holds a shared lock on the versions that it reads until it ends. What nobody reads is deleted: earlier
versions when a later one was fetched, and of all folders those that were used least recently, above
``DEMURE_CACHE_GB``.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from demure.errors import MachineError
from demure.files import cannot_write
from demure.locks import hold

CACHE = "DEMURE_CACHE"
CACHE_GB = "DEMURE_CACHE_GB"
DEFAULT_GB = 100.0
LIST = "version.json"
_held = contextlib.ExitStack()  # the locks of this process, on versions that it reads
_reading: set[Path] = set()
atexit.register(_held.close)


def cache_folder() -> Path:
    """Return the folder of the cache: ``DEMURE_CACHE``, or one in the user's cache folder."""
    return Path(os.path.abspath(os.environ.get(CACHE) or platformdirs.user_cache_path("demure", appauthor=False)))


def cache_limit() -> float:
    """Return how many bytes the cache may hold. Raises ``MachineError`` if ``DEMURE_CACHE_GB`` is not a number."""
    text = os.environ.get(CACHE_GB) or str(DEFAULT_GB)
    try:
        limit = float(text)
    except ValueError:
        limit = -1.0
    if not limit >= 0:
        raise MachineError(f"is {text!r}", where=CACHE_GB, remedy="set it to a number of gigabytes, such as 100")
    return limit * 1e9


@dataclass(frozen=True)
class CachedFolder:
    """The place of one URL in the cache: ``home``, and the ``name`` that its versions have there."""

    home: Path
    name: str

    @classmethod
    def of(cls, url: str, kind: str = "folders") -> CachedFolder:
        """Return the place of a URL without secrets, and make it. Raises ``DemureError`` if it cannot be made."""
        home = cache_folder() / kind / hashlib.sha256(url.encode()).hexdigest()[:16]
        with writing(home):
            home.mkdir(parents=True, exist_ok=True)
            if not (home / "url.txt").is_file():
                (home / "url.txt").write_text(url + "\n", encoding="utf-8")
        name = url.rstrip("/").rpartition("/")[2]
        return cls(home, name if name.strip(".") and "\\" not in name else "folder")

    def version(self, version_id: str) -> Path:
        """Return the folder of a version, which may not be there."""
        return self.home / version_id / self.name

    def versions(self) -> list[Path]:
        """Return the folders of the versions that are there."""
        return [path for path in sorted(self.home.glob("*-*")) if (path / LIST).is_file()]

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the cache of this URL alone, after waiting for other processes."""
        with writing(self.home), hold(self.home / "lock", wait=True):
            yield

    def read(self, version_id: str) -> Path | None:
        """Return the folder of a version, kept until this process ends; None if it is not there."""
        folder = self.home / version_id
        if folder not in _reading:
            with contextlib.ExitStack() as stack:
                with contextlib.suppress(OSError):  # a cache that only others write
                    stack.enter_context(hold(_version_lock(folder), wait=True, shared=True))
                if not (folder / LIST).is_file():
                    return None
                _held.push(stack.pop_all())
            _reading.add(folder)
            with contextlib.suppress(OSError):
                os.utime(folder)
        return folder / self.name

    def delete_other_versions(self, version_id: str) -> None:
        """Delete the versions that nobody reads, except this one."""
        for folder in self.versions():
            if folder.name != version_id:
                _delete_unread(folder)


@contextlib.contextmanager
def writing(place: Path) -> Iterator[None]:
    """Raise ``DemureError`` with the remedy for a cache that is full or cannot be written."""
    try:
        yield
    except OSError as error:
        failure = cannot_write(place, error)
        remedy = f"make room, or set {CACHE} to another folder ({CACHE_GB} limits its size)"
        raise MachineError(failure.problem, where=place, remedy=remedy) from error


def keep_to_limit() -> None:
    """Delete the versions that were used least recently and that nobody reads, until the cache keeps to its limit."""
    limit = cache_limit()
    folders = [path.parent for path in cache_folder().glob(f"folders/*/*/{LIST}")]
    sizes = {folder: _size(folder) for folder in folders}
    total = sum(sizes.values())
    for folder in sorted(folders, key=_used):
        if total <= limit:
            return
        if _delete_unread(folder):
            total -= sizes[folder]


def _used(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0


def _size(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size
    return total


def _version_lock(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _delete_unread(folder: Path) -> bool:
    """Delete a version unless a process reads it; return whether it is gone."""
    if folder in _reading:
        return False
    with contextlib.suppress(OSError), hold(_version_lock(folder)) as held:
        if held:
            with contextlib.suppress(OSError):
                (folder / LIST).unlink()  # first: from now on it is no version
            shutil.rmtree(folder, ignore_errors=True)
            _version_lock(folder).unlink(missing_ok=True)
            return True
    return False
