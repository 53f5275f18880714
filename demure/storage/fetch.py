"""Fetch a version of a folder into the cache: only what is not there, in parallel blocks, resumed."""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from demure.errors import StorageError
from demure.files import sha256_file
from demure.integrity import CHANGED, hash_of
from demure.progress import Listener, Progress
from demure.storage.cache import LIST, CachedFolder, keep_to_limit, writing
from demure.storage.location import Location
from demure.storage.version import StoredFile, Version

_BLOCK = 8 << 20
_AHEAD = 16  # blocks that are under way at a time; with them a fetch takes some 220 MB of memory
_MEGABYTE = 1_000_000


class Superseded(Exception):
    """A file of the version is no longer there; the message is its key."""


def fetch_version(location: Location, version: Version, listener: Listener) -> Path:
    """Return the local folder of a version, after fetching what is not in the cache.

    Raises ``Superseded`` if a file is no longer there, as later versions have taken the place of this one;
    ``StorageError`` if it cannot be read or was changed, ``MachineError`` if the cache cannot be written.
    """
    cached = CachedFolder.of(location.url)
    ready = cached.read(version.id)
    if ready is not None:
        return ready
    with cached.lock():
        ready = cached.read(version.id)  # another process has fetched it
        if ready is None:
            _fetch(location, version, cached, listener)
            ready = cached.read(version.id)
        cached.delete_other_versions(version.id)
    keep_to_limit()
    assert ready is not None
    return ready


def _fetch(location: Location, version: Version, cached: CachedFolder, listener: Listener) -> None:
    """Fetch a version; the caller holds the lock of the folder."""
    fetching = cached.home / "fetching"
    with writing(cached.home):
        for path in cached.home.glob("*.part"):  # of a process that was killed
            shutil.rmtree(path)
        fetching.mkdir(exist_ok=True)
        ids = {file.id for file in version.files.values()}
        for path in fetching.iterdir():
            if path.name.removesuffix(".whole") not in ids:
                path.unlink()
        present = _present(cached)
        wanted = {file.id: file for file in version.files.values() if file.id not in present}
        missing = {key: file for key, file in wanted.items() if not _whole(fetching, key).is_file()}
        _download(location, missing, fetching, listener)
        part = cached.home / f"{version.id}.part"
        for name, file in version.files.items():
            link_or_copy(present.get(file.id) or _whole(fetching, file.id), part / cached.name / name)
        for name, target in version.links.items():
            (part / cached.name / name).parent.mkdir(parents=True, exist_ok=True)
            (part / cached.name / name).symlink_to(target, target_is_directory=True)
        (part / LIST).write_bytes(version.to_bytes())
        shutil.rmtree(cached.home / version.id, ignore_errors=True)  # half deleted
        part.rename(cached.home / version.id)
        shutil.rmtree(fetching)


def _present(cached: CachedFolder) -> dict[str, Path]:
    """Return id of the content -> a file of an earlier version in the cache that is still as it was fetched."""
    present = {}
    for folder in cached.versions():
        version = Version.from_bytes((folder / LIST).read_bytes())
        for name, file in version.files.items() if version is not None else ():
            path = folder / cached.name / name
            if path.is_file() and path.stat().st_size == file.size and hash_of(path) == file.sha256:
                present[file.id] = path
    return present


def _download(location: Location, files: dict[str, StoredFile], fetching: Path, listener: Listener) -> None:
    """Fetch files to ``fetching``, in the order of their blocks, so that the size of a part is where to go on."""
    total = sum(file.size for file in files.values())
    done = 0
    stage = f"fetching {location.url} (MB)"
    for file in files.values():
        if _size(fetching / file.id) == file.size > 0:
            _accept(location, file, fetching)
    files = {key: file for key, file in files.items() if not _whole(fetching, key).is_file()}
    with ThreadPoolExecutor(_AHEAD) as threads:
        waiting: deque[tuple[StoredFile, Future[bytes]]] = deque()
        blocks = _blocks(files, fetching)
        try:
            while True:
                while len(waiting) < _AHEAD and (block := next(blocks, None)) is not None:
                    file, start, end = block
                    whole = start == 0 and end == file.size
                    bounds = () if whole else (start, end)
                    waiting.append((file, threads.submit(location.read, file.key, *bounds)))
                if not waiting:
                    break
                file, future = waiting.popleft()
                try:
                    data = future.result()
                except FileNotFoundError as error:
                    raise Superseded(file.key) from error
                with open(fetching / file.id, "ab") as part:
                    part.write(data)
                    size = part.tell()
                if size >= file.size:
                    _accept(location, file, fetching)
                    done += file.size
                    if total >= _MEGABYTE:
                        listener(Progress(stage, done // _MEGABYTE, total // _MEGABYTE))
        finally:
            for _, future in waiting:
                future.cancel()


def _blocks(files: dict[str, StoredFile], fetching: Path) -> Iterator[tuple[StoredFile, int, int]]:
    """Yield the blocks (file, first byte, end) that are not there yet; of an empty file, one that is empty."""
    for key, file in files.items():
        start = _size(fetching / key)
        if start > file.size:
            (fetching / key).unlink()
            start = 0
        if not file.size:
            yield file, 0, 0
        for first in range(start, file.size, _BLOCK):
            yield file, first, min(first + _BLOCK, file.size)


def _accept(location: Location, file: StoredFile, fetching: Path) -> None:
    """Mark a fetched file as whole. Raises ``StorageError`` if it is not the file that the version lists."""
    path = fetching / file.id
    if path.stat().st_size != file.size or (file.sha256 is not None and sha256_file(path) != file.sha256):
        path.unlink()
        where = f"{location.url}/{file.key}"
        raise StorageError(CHANGED, where=where, remedy="make the folder again, or upload it again")
    path.rename(_whole(fetching, file.id))


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _whole(fetching: Path, key: str) -> Path:
    return fetching / f"{key}.whole"


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system has no links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
