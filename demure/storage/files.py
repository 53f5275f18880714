"""Read and write a single file at a URL."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from demure.errors import StorageError
from demure.progress import Listener, silent
from demure.storage.cache import cache_folder, writing
from demure.storage.fetch import Superseded, fetch_version
from demure.storage.location import Location, explained, mark
from demure.storage.names import is_url, local_name, redact, remember
from demure.storage.version import StoredFile, Version, copied

_TIMES = 5


def local_file(url: str | Path, listener: Listener = silent) -> Path:
    """Return a local copy of the file at a URL, or of the folder of files there; of a path the path.

    It is fetched again only when its size, time or checksum at the URL has changed. Raises ``StorageError`` if it is
    absent or cannot be read.
    """
    if not is_url(url):
        return Path(url)
    location = Location.open(str(url))
    for _ in range(_TIMES):
        owner, version, name = _describe(location)
        with contextlib.suppress(Superseded):
            folder = fetch_version(owner, version, listener)
            if _describe(location)[1].id == version.id:
                if name:
                    remember(folder, location.url.rpartition("/")[0], partial=True)
                path = folder / name if name else folder
                remember(path, location.url)
                return path
    raise StorageError("changes all the time", where=location.url, remedy="wait until it is complete")


def content_folder(root: str) -> Path:
    """Return the folder of images, audio or video files that a manifest names; one at a URL is fetched, once for the
    process."""
    if not is_url(root):
        return Path(root)
    return local_name(root) or local_file(root)


def _describe(location: Location) -> tuple[Location, Version, str]:
    """Return the file or folder as a version, its place, and its name if it is a file."""

    def request() -> dict[str, object]:
        location.fs.invalidate_cache()
        return dict(location.fs.info(location.root))

    try:
        entry = location.ask(request)
    except FileNotFoundError as error:
        raise explained(error, location.url) from error
    if entry["type"] == "directory":
        version = copied(location)
        if not version.files:
            raise StorageError("holds no file", where=location.url, remedy="check the name")
        return location, version, ""
    above, _, name = location.root.rpartition("/")
    file = StoredFile(name, int(str(entry["size"])), mark=mark(entry))
    return Location(location.url, location.fs, above), Version(0, {name: file}), name


@contextlib.contextmanager
def file_to_write(url: str | Path) -> Iterator[Path]:
    """Yield a local path to write a file to, which goes to the URL when the block ends without an error; of a path, the
    path. Raises ``StorageError`` if it cannot be written."""
    if not is_url(url):
        yield Path(url)
        return
    location = Location.open(str(url))
    name = location.root.rpartition("/")[2]
    work = cache_folder() / "work"
    with writing(work):
        work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        path = Path(folder, name)
        remember(path, redact(str(url)))
        yield path
        if path.is_file():
            _put(path, location, name)


def _put(path: Path, location: Location, name: str) -> None:
    fs, target = location.fs, location.root
    part = target if getattr(fs, "async_impl", False) else f"{target[: -len(name)]}.{name}.part"
    try:
        if part != target:
            location.ask(lambda: fs.makedirs(target.rpartition("/")[0], exist_ok=True))
        location.ask(lambda: fs.put_file(str(path), part))
        if part != target:
            location.ask(lambda: fs.mv(part, target))
    except FileNotFoundError as error:
        raise explained(error, location.url) from error
