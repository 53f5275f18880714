"""A place in an object store or on another file system: open it, ask it, and put its failures into one plain line."""

from __future__ import annotations

import contextlib
import errno
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from demure.errors import StorageError
from demure.storage.names import redact

logger = logging.getLogger(__name__)
T = TypeVar("T")

DELAYS = [1.0, 4.0]
"""Seconds between the attempts at a request that failed for a reason that may pass."""
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs", "abfs": "abfs", "abfss": "abfs", "az": "abfs"}
_LASTING = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError)
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT} if hasattr(errno, "EDQUOT") else {errno.ENOSPC}
_TIMES = ("LastModified", "last_modified", "mtime", "modified", "updated", "created")
_MARKS = ("ETag", "etag", "md5Hash", "crc32c", "generation", "checksum", *_TIMES)


@dataclass(frozen=True)
class Location:
    """``url`` without secrets, ``fs`` the file system of fsspec, and ``root`` the path of the URL there."""

    url: str
    fs: Any
    root: str

    @classmethod
    def open(cls, url: str) -> Location:
        """Open a URL. Raises ``StorageError`` if its package is missing or its credentials are."""
        import fsspec

        shown, scheme = redact(url.rstrip("/")), url.partition("://")[0]
        try:
            fs, root = fsspec.core.url_to_fs(url.rstrip("/"))
        except ImportError as error:
            package = f"'demure[{_EXTRAS[scheme]}]'" if scheme in _EXTRAS else ""
            remedy = f"pip install {package}" if package else f"install it ({error})"
            raise StorageError(f"the package for {scheme}:// is not installed", where=shown, remedy=remedy) from error
        except Exception as error:
            if isinstance(error, ValueError) and "Protocol not known" in str(error):
                remedy = "use s3://, gs://, abfs://, hdfs:// or another scheme of fsspec"
                raise StorageError(f"unknown scheme {scheme!r}", where=shown, remedy=remedy) from error
            raise explained(error, shown) from error
        return cls(shown, fs, root.rstrip("/"))

    def path(self, name: str) -> str:
        """Return the path of a file, by its name below the URL."""
        return f"{self.root}/{name}" if name else self.root

    def parent(self) -> tuple[Location, str] | None:
        """Return the folder above, and the name of this one in it; None at the top."""
        above, slash, name = self.url.rpartition("/")
        root = self.root.rpartition("/")[0]
        if not slash or above.endswith(("/", ":")) or not root or not name:
            return None
        return Location(above, self.fs, root), name

    def ask(self, request: Callable[[], T]) -> T:
        """Return the result of a request, which is repeated if it fails for a reason that may pass.

        Raises ``FileNotFoundError`` and ``FileExistsError`` as they are, ``StorageError`` for all else.
        """
        for delay in [*DELAYS, None]:
            try:
                return request()
            except (FileNotFoundError, FileExistsError):
                raise
            except Exception as error:
                if delay is None or not _may_pass(error):
                    raise explained(error, self.url) from error
                logger.debug("%s: %s: once more in %g s", self.url, redact(str(error)), delay)
            time.sleep(delay)
        raise AssertionError

    def entries(self) -> dict[str, dict[str, Any]]:
        """Return what stands directly below the URL: name -> fsspec's description; nothing where there is nothing."""

        def request() -> list[dict[str, Any]]:
            self.fs.invalidate_cache()
            return list(self.fs.ls(self.root, detail=True))

        try:
            entries = self.ask(request)
        except FileNotFoundError:
            return {}
        return self._named(entries)

    def has(self, name: str) -> bool:
        """Return whether there is a file or folder of this name; an object store is asked for one key at most."""

        def request() -> bool:
            self.fs.invalidate_cache()
            return bool(self.fs.exists(self.path(name)))

        return self.ask(request)

    def files(self, below: str = "") -> dict[str, dict[str, Any]]:
        """Return all files below the URL, or below a folder there: name -> fsspec's description."""

        def request() -> list[dict[str, Any]]:
            self.fs.invalidate_cache()
            return list(self.fs.find(self.path(below), detail=True).values())

        try:
            return self._named(entry for entry in self.ask(request) if entry["type"] == "file")
        except FileNotFoundError:
            return {}

    def _named(self, entries: Any) -> dict[str, dict[str, Any]]:
        named = ((str(entry["name"]).rstrip("/"), entry) for entry in entries)
        start = self.root + "/"
        return {name.removeprefix(start): entry for name, entry in named if name.startswith(start)}

    def read(self, name: str, start: int | None = None, end: int | None = None) -> bytes:
        """Return a file, or its bytes from ``start`` to ``end``. Raises ``FileNotFoundError`` if it is absent."""
        path = self.path(name)

        def request() -> bytes:
            if start is None or end is None or not self._is_arrow:
                return bytes(self.fs.cat_file(path, start=start, end=end))
            with self.fs.open(path, "rb") as file:  # its cat_file fails for a part that starts at 0
                file.seek(start)
                return bytes(file.read(end - start))

        return self.ask(request)

    @property
    def _is_arrow(self) -> bool:
        return any(base.__name__ == "ArrowFSWrapper" for base in type(self.fs).__mro__)

    def make_parent(self, name: str) -> None:
        """Make the folder of a file; object stores have no folders, and some would make a bucket."""
        if not getattr(self.fs, "async_impl", False):
            self.ask(lambda: self.fs.makedirs(self.path(name).rpartition("/")[0], exist_ok=True))


def explained(error: BaseException, url: str) -> StorageError:
    """Return the failure of a request as one line with its remedy."""
    text = redact(" ".join(str(error).split()))[:300] or type(error).__name__
    if getattr(error, "errno", None) in _NO_SPACE:
        return StorageError(f"there is no space left ({text})", where=url, remedy="make room, then try again")
    if isinstance(error, FileNotFoundError):
        return StorageError(f"does not exist ({text})", where=url, remedy="check the name; make the bucket first")
    if isinstance(error, PermissionError) or _is_about_credentials(error):
        remedy = "give the credentials that its provider reads, such as AWS_PROFILE or AWS_ACCESS_KEY_ID for s3://"
        return StorageError(f"access is refused ({text})", where=url, remedy=remedy)
    if "libjvm" in text or "libhdfs" in text:
        remedy = "install Java and Hadoop, and set JAVA_HOME, HADOOP_HOME and CLASSPATH"
        return StorageError(f"the Hadoop client cannot be loaded ({text[:80]})", where=url, remedy=remedy)
    if _may_pass(error):
        return StorageError(
            f"cannot be reached ({type(error).__name__}: {text})", where=url, remedy="check the network, then try again"
        )
    return StorageError(f"cannot be used ({type(error).__name__}: {text})", where=url, remedy="check the URL")


def _is_about_credentials(error: BaseException) -> bool:
    name = type(error).__name__
    return any(word in name or word in str(error) for word in ("redential", "ProfileNotFound", "TokenRetrieval"))


def _may_pass(error: BaseException) -> bool:
    """Return whether another attempt may succeed: errors of the network, whose classes each package has of its own."""
    if isinstance(error, _LASTING) or getattr(error, "errno", None) in _NO_SPACE or _is_about_credentials(error):
        return False
    return not isinstance(error, ValueError | TypeError | NotImplementedError | AttributeError | KeyError)


def modified(entry: dict[str, Any]) -> float | None:
    """Return when a file was written, in seconds since 1970; None if its file system does not know."""
    for key in _TIMES:
        value = entry.get(key)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                return datetime.fromisoformat(value).timestamp()
    return None


def mark(entry: dict[str, Any]) -> str:
    """Return a text that changes when a file is written again: its size, times and the store's checksums."""
    return " ".join([str(entry.get("size")), *(str(entry[key]) for key in _MARKS if entry.get(key) is not None)])
