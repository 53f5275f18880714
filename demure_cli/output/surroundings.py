"""Standard streams that are closed or full, and variables for the size of the terminal that make no sense."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any, TextIO

_LEAST, _MOST = 20, 10_000  # columns: with fewer, rich leaves words out; with more, it fills the memory with spaces
_SIZES = ("COLUMNS", "LINES", "TERMINAL_WIDTH")  # read by rich, and the last one by Typer


def open_streams() -> None:
    """Open the null device as each standard stream that the caller has closed (``>&-``), and accept any letter.

    Otherwise the next file to be opened would take the stream's place, and what a library prints would land in it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            _connect_null(number, only_if_closed=True)
            mode = "w" if number else "r"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8", errors="replace"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a title with unknown letters must not stop a command


def release_streams() -> None:
    """Connect standard streams that cannot be written to (full, without a reader) to the null device.

    The interpreter flushes them once more when it ends, and that failure would replace the exit status.
    """
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                if stream.fileno() == number:
                    _connect_null(number)


def correct_sizes() -> None:
    """Correct the variables that set the size of the terminal: rich prints nothing in 0 columns, and fails at ``²``."""
    for name in _SIZES:
        value = os.environ.get(name)
        if value is None:
            continue
        if not (value.isascii() and value.isdecimal() and int(value[:9])):
            del os.environ[name]
        elif name != "LINES":
            os.environ[name] = str(readable_width(int(value[:9])))


def readable_width(columns: int) -> int:
    """Return the number of columns to print in."""
    return min(max(columns, _LEAST), _MOST)


class Forgiving:
    """A stream for what is not the result: a write that fails (no reader, a full disk, a terminal that is gone) is
    dropped, since no work should end for it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write ``text`` if the stream accepts it."""
        with contextlib.suppress(OSError, ValueError):
            return self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Hand over what was written if the stream accepts it."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _connect_null(number: int, *, only_if_closed: bool = False) -> None:
    if only_if_closed:
        with contextlib.suppress(OSError):
            os.fstat(number)
            return
    null = os.open(os.devnull, os.O_RDWR)
    if null != number:
        os.dup2(null, number)
        os.close(null)
    os.set_inheritable(number, True)
