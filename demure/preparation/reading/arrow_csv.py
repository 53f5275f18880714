"""Arrow's reader of delimited text over a Python file, which leaves no thread of Arrow behind."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.csv

_SECONDS = 30.0  # far above the milliseconds that Arrow needs to read one more block


class _Shared:
    """A Python object that threads of Arrow use, and the knowledge when the last of them has let go of it."""

    def __init__(self) -> None:
        self._released: list[threading.Event] = []

    def lend(self, method: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that calls ``method``, for Arrow alone to keep."""

        def lent(*arguments: Any) -> Any:
            return method(*arguments)

        released = threading.Event()
        weakref.finalize(lent, released.set).atexit = False
        self._released.append(released)
        return lent

    def wait(self) -> None:
        """Wait until no thread of Arrow has a function that was lent."""
        for released in self._released:
            released.wait(_SECONDS)


class _Source:
    """The methods of a file that Arrow calls."""

    closed = False

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self.read = read


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
    error. If the interpreter ends in that moment, Python ends the thread where it asks for the interpreter's lock, and
    C++ aborts the process: "terminate called without an active exception". So this waits until the threads have let go.
    """
    shared = _Shared()
    parsing = pa.csv.ParseOptions(
        **parse_options, invalid_row_handler=None if on_bad_row is None else shared.lend(on_bad_row)
    )
    reader = None
    try:
        reader = pa.csv.open_csv(
            pa.PythonFile(_Source(shared.lend(text.read)), mode="r"), read_options, parsing, convert_options
        )
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
            yield batch
    finally:
        del reader, parsing  # pyarrow stops reading ahead when nobody has the reader
        shared.wait()
