"""Write a local folder to a URL as its next version: the files first, the list of files last."""

from __future__ import annotations

import contextlib
import fnmatch
import logging
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from demure.errors import StorageError
from demure.images.files import HASH_CACHES
from demure.integrity import hash_of
from demure.progress import Listener, Progress
from demure.storage.location import Location, modified
from demure.storage.version import FILES, StoredFile, Version, list_name, numbered

logger = logging.getLogger(__name__)

LOCAL_ONLY = (".checked.json", "*.lock", ".*.part*", ".*.old", *HASH_CACHES.values(), ".work-*")
"""Names that mean something on one machine alone."""
_AT_A_TIME = 8
_GRACE = 24 * 3600.0  # seconds: what is older, and neither of the present version nor of the one before, is deleted
_REUSED = _GRACE / 2  # a file that an interrupted upload left so long ago could be deleted by another writer
_MEGABYTE = 1_000_000


def local_version(folder: Path, number: int) -> tuple[Version, dict[str, Path]]:
    """Return the content of a local folder as version ``number``, and the path of each file by its key."""
    files, links, paths = dict[str, StoredFile](), dict[str, str](), dict[str, Path]()

    def walk(parent: Path) -> None:
        for path in sorted(parent.iterdir()):
            if any(fnmatch.fnmatch(path.name, pattern) for pattern in LOCAL_ONLY):
                continue
            name = path.relative_to(folder).as_posix()
            if path.is_symlink() and (target := _target_inside(path, folder)) is not None:
                links[name] = target
            elif path.is_dir():
                walk(path)
            else:
                digest = hash_of(path)
                key = f"{FILES}/{digest[:32]}/{path.name}"
                files[name] = StoredFile(key, path.stat().st_size, digest)
                paths[key] = path

    walk(folder)
    return Version(number, files, links), paths


def _target_inside(link: Path, folder: Path) -> str | None:
    """Return the target of a symbolic link, relative to it, if it lies in the folder."""
    target, root = os.path.realpath(link), os.path.realpath(folder)
    return os.path.relpath(target, os.path.realpath(link.parent)) if target.startswith(root + os.sep) else None


def upload(folder: Path, location: Location, base: Version | None, listener: Listener) -> Version:
    """Write a folder as the version after ``base``, and return it; ``base`` itself if nothing has changed.

    Readers get ``base`` until the list of files is written, as the last step. An upload that is interrupted changes
    nothing, and another one does not send again what is there. Raises ``StorageError`` if the files cannot be written,
    or another process has written a version since ``base``.
    """
    version, paths = local_version(folder, 1 if base is None else base.number + 1)
    if base is not None and base.number and version.holds_the_same(base):
        return base
    _put_files(location, base, version, paths, listener)
    entries = location.entries()
    if numbered(entries)[:1] != ([list_name(base.number)] if base is not None and base.number else []):
        raise _overtaken(location)
    _put_list(location, version)
    with contextlib.suppress(StorageError, OSError):
        _delete_earlier(location, base, version)
    return version


def _put_files(
    location: Location, base: Version | None, version: Version, paths: dict[str, Path], listener: Listener
) -> None:
    stored = {file.key for file in base.files.values()} if base is not None else set()
    young = {
        name: int(entry["size"])
        for name, entry in location.files(FILES).items()
        if time.time() - (modified(entry) or 0.0) < _REUSED
    }
    files = {file.key: file for file in version.files.values()}
    missing = [file for key, file in files.items() if key not in stored and young.get(key) != file.size]
    total = sum(file.size for file in missing)
    done, stage = 0, f"uploading {location.url} (MB)"

    def put(file: StoredFile) -> int:
        location.make_parent(file.key)
        location.ask(lambda: location.fs.put_file(str(paths[file.key]), location.path(file.key)))
        return file.size

    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        try:
            for size in threads.map(put, missing):
                done += size
                if total >= _MEGABYTE:
                    listener(Progress(stage, done // _MEGABYTE, total // _MEGABYTE))
        except FileNotFoundError as error:
            problem = f"cannot be written ({' '.join(str(error).split())[:200] or 'it does not exist'})"
            raise StorageError(
                problem, where=location.url, remedy="make the bucket first, or check its name"
            ) from error
        finally:
            threads.shutdown(wait=True, cancel_futures=True)


def _put_list(location: Location, version: Version) -> None:
    """Write the list of a version, under a name that is not there yet where the store can see to that."""
    name, data = list_name(version.number), version.to_bytes()
    path = location.path(name)

    def request() -> None:
        location.fs.invalidate_cache()
        if location.fs.exists(path):  # some stores take no notice of the mode
            raise FileExistsError(path)
        try:
            location.fs.pipe_file(path, data, mode="create")
        except (ValueError, TypeError, NotImplementedError):  # no such mode there
            location.fs.pipe_file(path, data)

    try:
        location.make_parent(name)
        location.ask(request)
    except FileExistsError as error:
        if location.read(name) != data:  # else it is ours, and only the answer was lost
            raise _overtaken(location) from error


def _overtaken(location: Location) -> StorageError:
    problem = "was changed by another process while this one made a new version of it"
    return StorageError(problem, where=location.url, remedy="run the command again")


def _delete_earlier(location: Location, base: Version | None, version: Version) -> None:
    """Delete the lists and files of versions before ``base``, and files that no version has, when they are a day old.

    Whoever reads one of the last two versions, or writes another one, keeps what he needs.
    """
    keys = {file.key for own in (base, version) if own is not None for file in own.files.values()}
    lists = {list_name(version.number), list_name(base.number) if base is not None else ""}
    oldest = time.time() - _GRACE

    def is_old(entry: dict[str, Any]) -> bool:
        written = modified(entry)
        return written is not None and written < oldest

    top = location.entries()
    old = [name for name in numbered(top) if name not in lists and is_old(top[name])]
    old += [name for name, entry in location.files(FILES).items() if name not in keys and is_old(entry)]
    if base is not None and base.number == 0:  # a copy of another program: the list is in its place now
        old += list(base.files)
    _delete(location, old)


def delete_files(location: Location, earlier: Version, kept: Version) -> None:
    """Delete the list of a version, and the files that only it has, for example those of an earlier checkpoint."""
    keys = {file.key for file in kept.files.values()}
    if earlier.id != kept.id:
        unused = [file.key for file in earlier.files.values() if file.key not in keys]
        with contextlib.suppress(StorageError, OSError):
            _delete(location, [list_name(earlier.number), *unused])


def _delete(location: Location, names: Iterable[str]) -> None:
    for name in names:
        logger.debug("delete %s/%s", location.url, name)
        with contextlib.suppress(FileNotFoundError):
            location.ask(partial(location.fs.rm_file, location.path(name)))
