"""The bytes of a raw file, compressed or not, read in pieces; and its read errors as one line each."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from demure.errors import DataError

BOM = b"\xef\xbb\xbf"
_PIECE = 1 << 22  # bytes
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2", b"\xfd7zXZ\0": "xz"}
# Archives hold several files, and which of them is meant cannot be known.
_ARCHIVES = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
}
# Click logs shrink 5- to 30-fold; a small file that grows beyond this is made to fill a disk or a memory.
_FREE, _MOST_GROWTH = 1 << 28, 250


def read_head(path: Path, size: int = 65536) -> bytes:
    """Return the file's first ``size`` bytes, decompressed. Raises ``DataError`` if it is empty, an archive, or
    cannot be read.
    """
    with file_errors(path), open_decompressed(path) as handle:
        data = handle.read(size)
    if not data.removeprefix(BOM).strip():
        raise DataError("is empty", where=path, remedy="give a file with rows")
    archive = next((kind for magic, kind in _ARCHIVES.items() if data.startswith(magic)), None)
    if archive is not None:
        raise DataError(
            f"is not a text file but {archive}",
            where=path,
            remedy="unpack it, or save its sheet as CSV, and give that file",
        )
    return data


def compression_of(path: Path) -> str | None:
    """Return gzip, zstd, bz2 or xz, by the first bytes; None for a file that is not compressed."""
    with open(path, "rb") as handle:
        start = handle.read(6)
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)


def open_decompressed(path: Path) -> IO[bytes]:
    """Open a file that may be compressed; reading raises ``DataError`` if it grows like a zip bomb."""
    compression = compression_of(path)
    if compression is None:
        return open(path, "rb")
    return io.BufferedReader(_GuardedStream(path, _DECOMPRESSORS[compression](path)), _PIECE)


_DECOMPRESSORS: dict[str, Callable[[Path], Any]] = {
    "gzip": gzip.GzipFile,
    "bz2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
    "zstd": lambda path: pa.CompressedInputStream(pa.OSFile(str(path)), "zstd"),
}


class _GuardedStream(io.RawIOBase):
    """Decompressed bytes, counted against the file's size."""

    def __init__(self, path: Path, raw: Any) -> None:
        self.path, self.raw, self.bytes_read, self.size = path, raw, 0, os.path.getsize(path)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.raw.read(len(buffer))
        buffer[: len(data)] = data
        self.bytes_read += len(data)
        if self.bytes_read > max(_FREE, _MOST_GROWTH * self.size):
            problem = f"grows more than {_MOST_GROWTH}-fold when unpacked, as a zip bomb does"
            raise DataError(problem, where=self.path, remedy="unpack it yourself if you trust it")
        return len(data)

    def close(self) -> None:
        self.raw.close()
        super().close()


@contextlib.contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Turn the failures of reading ``path`` into ``DataError``; refuse anything but a regular file."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise DataError("no such file", where=path, remedy="check the path") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if stat.S_ISDIR(mode):
        raise DataError("is a folder, not a file", where=path, remedy="name the file in it")
    if not stat.S_ISREG(mode):
        raise DataError("is not a regular file (a pipe or a device)", where=path, remedy="write it to a file first")
    try:
        yield
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise _damaged(path, error) from error
    except OSError as error:
        # bz2 and Arrow's zstd raise an OSError without a number for damaged content.
        is_content = error.errno is None and compression_of(path) is not None
        raise (_damaged if is_content else _unreadable)(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    remedy = "it is cut off or damaged: copy or download it again"
    return DataError(f"cannot be unzipped ({error})", where=path, remedy=remedy)


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"cannot be read ({error.strerror or error})", where=path, remedy="check its permissions")
