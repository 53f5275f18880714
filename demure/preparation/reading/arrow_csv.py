"""Arrow's reader of delimited text over a Python file, which leaves no thread of Arrow behind."""

from __future__ import annotations

import functools
import time
import weakref
from collections.abc import Callable, Iterator
from typing import IO, Any, TypeVar

import pyarrow as pa
import pyarrow.csv

_SECONDS = 30.0  # far above the milliseconds that Arrow needs to read one more block
_PAUSE = 0.0005

Lent = TypeVar("Lent")


class _Lent:
    """Python objects that threads of Arrow hold."""

    def __init__(self) -> None:
        self._references: list[weakref.ref[Any]] = []

    def lend(self, item: Lent) -> Lent:
        """Return ``item``, of which nobody else but Arrow keeps a reference."""
        self._references.append(weakref.ref(item))
        return item

    def wait(self) -> None:
        """Wait until no thread holds any of the objects.

        A callback of the weak references could tell, but it would run in such a thread, which would still need Python's
        lock to leave it.
        """
        end = time.monotonic() + _SECONDS
        while any(reference() is not None for reference in self._references) and time.monotonic() < end:
            time.sleep(_PAUSE)


class _Source:
    """A file with the methods that Arrow calls."""

    closed = False

    def __init__(self, text: IO[bytes], lent: _Lent) -> None:
        self._text, self._lent = text, lent

    def read(self, size: int) -> memoryview:
        """Return the next bytes."""
        return self._lent.lend(memoryview(self._text.read(size)))  # bytes cannot be referred to weakly


def read_batches(
    text: IO[bytes],
    read_options: pa.csv.ReadOptions,
    convert_options: pa.csv.ConvertOptions,
    *,
    on_bad_row: Callable[[Any], str] | None = None,
    **parse_options: Any,
) -> Iterator[pa.RecordBatch]:
    """Yield the batches of ``pyarrow.csv.open_csv``; ``on_bad_row`` is its ``invalid_row_handler``.

    Arrow reads ahead in threads of its own, and a thread may keep the file for a moment after the last batch or an
    error, or a piece of its bytes. If the interpreter ends in that moment, Python ends the thread where it asks for the
    interpreter's lock, and C++ aborts the process: "terminate called without an active exception". So this waits until
    the threads have let go of all of them.
    """
    lent = _Lent()
    handler = None if on_bad_row is None else lent.lend(functools.partial(on_bad_row))
    parsing = pa.csv.ParseOptions(**parse_options, invalid_row_handler=handler)
    file = pa.PythonFile(lent.lend(_Source(text, lent)), mode="r")
    reader = None
    try:
        reader = pa.csv.open_csv(file, read_options, parsing, convert_options)
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
            yield batch
    finally:
        del reader, parsing, file, handler  # pyarrow stops reading ahead when nobody has the reader
        lent.wait()
