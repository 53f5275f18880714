"""Remove the unfinished files of a download that was killed, but not those of one that is still running."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from demure.leftovers import sweep


@contextlib.contextmanager
def sweep_unless_in_use(folder: Path) -> Iterator[None]:
    """Remove unfinished files from ``folder`` if no other download is at work there; be at work inside the block."""
    try:
        import fcntl
    except ImportError:  # no such lock on this system, so nobody knows whether another download is at work
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # another download, or a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            sweep(folder)
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)
