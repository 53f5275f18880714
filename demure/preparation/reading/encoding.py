"""The encoding of a text file, and its text as UTF-8, in pieces."""

from __future__ import annotations

import codecs
import io
from pathlib import Path
from typing import Any, NamedTuple

from demure.errors import DataError
from demure.preparation.problems import Findings
from demure.preparation.reading.compression import BOM, file_errors, open_decompressed, read_head

_PIECE = 1 << 22  # bytes
_MARKS = {BOM: "utf-8", b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}


class TextEncoding(NamedTuple):
    """The encoding of a text file, and whether the file may have quotation marks."""

    name: str
    has_quotes: bool


def detect_encoding(path: Path, findings: Findings, encoding: str | None = None) -> TextEncoding:
    """Return ``encoding``, else that of the byte order mark, else UTF-8 if the whole file is UTF-8, else Latin-1.

    Reads the file once. Raises ``DataError`` for an unknown encoding, for bytes that ``encoding`` does not have, and
    with the line for a NUL byte.
    """
    start = read_head(path)
    mark = next((name for bom, name in _MARKS.items() if start.startswith(bom)), None)
    wanted = encoding or mark or "utf-8"
    try:
        decoder = codecs.getincrementaldecoder(wanted)()
    except LookupError as error:
        remedy = "use utf-8, cp1252, gb18030 or another that Python knows"
        raise DataError(f"unknown encoding {wanted!r}", where="--encoding", remedy=remedy) from error
    if start.startswith(b"PAR1") or (mark is None and encoding is None and b"\0" in start):
        raise DataError("is not a text file", where=path, remedy="give CSV, TSV, JSON Lines or Parquet, or --format")
    is_declared = bool(encoding) or mark not in (None, "utf-8")
    line, is_valid, has_quotes = 1, True, False
    with file_errors(path), open_decompressed(path) as handle:
        while piece := handle.read(_PIECE):
            if is_valid:
                try:
                    text = decoder.decode(piece)
                except UnicodeError as error:
                    if is_declared:
                        problem = (
                            f"is not {wanted} ({error.reason if isinstance(error, UnicodeDecodeError) else error})"
                        )
                        raise DataError(problem, where=path, remedy="check --encoding") from error
                    text, is_valid = "", False
            if not is_valid:
                text = piece.decode("latin-1")
            if "\0" in text:
                line += text.count("\n", 0, text.index("\0"))
                raise DataError("has a NUL byte", where=f"{path}:{line}", remedy="remove it; is the file damaged?")
            line += text.count("\n")
            has_quotes = has_quotes or '"' in text
        if is_valid and (rest := decoder.getstate()[0]):
            if is_declared:
                raise DataError(f"is not {wanted} (ends with {rest!r})", where=path, remedy="check --encoding")
            is_valid = False
    if not is_valid:
        findings.note(f"{path.name}: is not UTF-8 and is read as Latin-1 (if it is another, say --encoding)")
        return TextEncoding("latin-1", has_quotes)
    if wanted not in ("utf-8", "utf8"):
        findings.note(f"{path.name}: is read as {wanted}")
    return TextEncoding(wanted, has_quotes)


class Utf8Stream(io.RawIOBase):
    """A text file as UTF-8 bytes without byte order mark; ``replacement`` (old, new) is made on the way."""

    def __init__(self, path: Path, encoding: str, replacement: tuple[str, str] | None = None) -> None:
        self._handle = open_decompressed(path)
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._is_utf8 = encoding == "utf-8" and replacement is None
        self._replacement = replacement
        self._held_back = ""  # the end of a piece, which may be the beginning of a string to replace
        self._ready = memoryview(b"")
        self._started = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            piece = self._handle.read(_PIECE)
            if not piece and not self._held_back:
                return 0
            self._ready = memoryview(self._translate(piece))
        n = min(len(buffer), len(self._ready))
        buffer[:n] = self._ready[:n]
        self._ready = self._ready[n:]
        return n

    def _translate(self, piece: bytes) -> bytes:
        if self._is_utf8:
            is_first, self._started = not self._started, True
            return piece.removeprefix(BOM) if is_first else piece
        text = self._held_back + self._decoder.decode(piece, final=not piece)
        self._held_back = ""
        if not self._started and text:
            self._started, text = True, text.removeprefix("\ufeff")
        if self._replacement:
            old, new = self._replacement
            text = text.replace(old, new)
            if piece:  # ``old`` may lie on the border of two pieces
                cut = next((k for k in range(len(old) - 1, 0, -1) if text.endswith(old[:k])), 0)
                text, self._held_back = text[: len(text) - cut], text[len(text) - cut :]
        return text.encode("utf-8")

    def close(self) -> None:
        self._handle.close()
        super().close()
