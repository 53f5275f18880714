"""The bytes of a raw file, whatever they are packed in, and its text as UTF-8: read in pieces, never as a whole."""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import io
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from demure.errors import DataError
from demure.prepare.problems import Findings

BOM = b"\xef\xbb\xbf"
_PIECE = 1 << 22
_PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bz2"}
_MARKS = {BOM: "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
# Click logs shrink 5- to 30-fold; a small file that grows beyond this is made to fill a disk or a memory.
_FREE, _MOST_GROWTH = 1 << 28, 250


def head(path: Path, size: int = 65536) -> bytes:
    """The file's first bytes, unpacked; raises ``DataError`` if it cannot be read or has none."""
    with reading(path), open_bytes(path) as handle:
        start = handle.read(size)
    if not start.removeprefix(BOM).strip():
        raise DataError("is empty", where=path, remedy="give a file with rows")
    return start


def packing(path: Path) -> str | None:
    """gzip, zstd or bz2, by the first bytes; None for a file that is not packed."""
    with open(path, "rb") as handle:
        start = handle.read(4)
    return next((name for magic, name in _PACKED.items() if start.startswith(magic)), None)


def open_bytes(path: Path) -> IO[bytes]:
    """The file unpacked. A packed file that grows beyond all measure raises ``DataError`` while it is read."""
    packed = packing(path)
    if packed is None:
        return open(path, "rb")
    return io.BufferedReader(_Measured(path, _UNPACKERS[packed](path)), _PIECE)


_UNPACKERS: dict[str, Callable[[Path], Any]] = {
    "gzip": gzip.GzipFile,
    "bz2": bz2.BZ2File,
    "zstd": lambda path: pa.CompressedInputStream(pa.OSFile(str(path)), "zstd"),
}


class _Measured(io.RawIOBase):
    """What is unpacked, counted against the file's size."""

    def __init__(self, path: Path, raw: Any) -> None:
        self.path, self.raw, self.grown, self.size = path, raw, 0, os.path.getsize(path)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.raw.read(len(buffer))
        buffer[: len(data)] = data
        self.grown += len(data)
        if self.grown > max(_FREE, _MOST_GROWTH * self.size):
            reason = f"grows more than {_MOST_GROWTH}-fold when unpacked, as a zip bomb does"
            raise DataError(reason, where=self.path, remedy="unpack it yourself if you trust it")
        return len(data)

    def close(self) -> None:
        self.raw.close()
        super().close()


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong with a file into one line."""
    try:
        kind = path.stat().st_mode
    except FileNotFoundError as error:
        raise DataError("no such file", where=path, remedy="check the path") from error
    except OSError as error:
        raise _unreadable(path, error) from error
    if stat.S_ISDIR(kind):
        raise DataError("is a folder, not a file", where=path, remedy="name the file in it")
    if not stat.S_ISREG(kind):
        raise DataError("is no regular file (a pipe or a device)", where=path, remedy="write it to a file first")
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _damaged(path, error) from error
    except OSError as error:
        packed = error.errno is None and packing(path) is not None  # how bz2 and Arrow's zstd say it
        raise (_damaged if packed else _unreadable)(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    remedy = "it is cut off or damaged: copy or download it again"
    return DataError(f"cannot be unzipped ({error})", where=path, remedy=remedy)


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"cannot be read ({error.strerror or error})", where=path, remedy="check its permissions")


def text_encoding(path: Path, findings: Findings, encoding: str | None = None) -> str:
    """The encoding of a text file: the given one, that of its byte order mark, UTF-8 if all of it is, else Latin-1.

    Reads the file once. Raises ``DataError`` for an unknown encoding, for bytes that the given one does not have, and
    with the line for a NUL byte.
    """
    start = head(path)
    mark = next((name for bom, name in _MARKS.items() if start.startswith(bom)), None)
    wanted = encoding or mark or "utf-8"
    try:
        decoder = codecs.getincrementaldecoder(wanted)()
    except LookupError as error:
        remedy = "use utf-8, cp1252, gb18030 or another that Python knows"
        raise DataError(f"unknown encoding {wanted!r}", where="--encoding", remedy=remedy) from error
    if start.startswith((b"PK\x03\x04", b"PAR1")) or (mark is None and encoding is None and b"\0" in start):
        raise DataError("is not a text file", where=path, remedy="give CSV, TSV, JSON Lines or Parquet, or --format")
    line, sound = 1, True
    with reading(path), open_bytes(path) as handle:
        while piece := handle.read(_PIECE):
            if sound:
                try:
                    text = decoder.decode(piece)
                except UnicodeError as error:
                    if encoding or mark not in (None, "utf-8"):
                        reason = f"is not {wanted} ({error.reason if isinstance(error, UnicodeDecodeError) else error})"
                        raise DataError(reason, where=path, remedy="check --encoding") from error
                    text, sound = "", False
            if not sound:
                text = piece.decode("latin-1")
            if "\0" in text:
                line += text.count("\n", 0, text.index("\0"))
                raise DataError("has a NUL byte", where=f"{path}:{line}", remedy="remove it; is the file damaged?")
            line += text.count("\n")
        if sound and (left := decoder.getstate()[0]):
            if encoding or mark not in (None, "utf-8"):
                raise DataError(f"is not {wanted} (ends with {left!r})", where=path, remedy="check --encoding")
            sound = False
    if not sound:
        findings.note(f"{path.name}: is not UTF-8 and is read as Latin-1 (if it is another, say --encoding)")
        return "latin-1"
    if wanted not in ("utf-8", "utf8"):
        findings.note(f"{path.name}: is read as {wanted}")
    return wanted


class Text(io.RawIOBase):
    """A text file as UTF-8 bytes without byte order mark; ``swap`` replaces one string by another on the way."""

    def __init__(self, path: Path, encoding: str, swap: tuple[str, str] | None = None) -> None:
        self._handle = open_bytes(path)
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._plain = encoding == "utf-8" and swap is None
        self._swap, self._held, self._ready, self._begun = swap, "", memoryview(b""), False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            piece = self._handle.read(_PIECE)
            if not piece and not self._held:
                return 0
            self._ready = memoryview(self._translate(piece))
        n = min(len(buffer), len(self._ready))
        buffer[:n] = self._ready[:n]
        self._ready = self._ready[n:]
        return n

    def _translate(self, piece: bytes) -> bytes:
        if self._plain:
            first, self._begun = not self._begun, True
            return piece.removeprefix(BOM) if first else piece
        text = self._held + self._decoder.decode(piece, final=not piece)
        self._held = ""
        if not self._begun and text:
            self._begun, text = True, text.removeprefix("\ufeff")
        if self._swap:
            old, new = self._swap
            text = text.replace(old, new)
            if piece:  # the string to replace may lie on the border of two pieces
                cut = next((k for k in range(len(old) - 1, 0, -1) if text.endswith(old[:k])), 0)
                text, self._held = text[: len(text) - cut], text[len(text) - cut :]
        return text.encode("utf-8")

    def close(self) -> None:
        self._handle.close()
        super().close()
