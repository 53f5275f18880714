"""Remove the unfinished files of a download that was killed, but not those of one that is still running."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

_UNFINISHED = re.compile(r"\..+\.\w{8}\.part\.\w+")  # as demure.files.atomic_file names them


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
            _sweep(folder)
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield
    finally:
        os.close(handle)


def _sweep(folder: Path) -> None:
    for entry in os.scandir(folder):
        if _UNFINISHED.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            with contextlib.suppress(OSError):
                os.unlink(entry.path)
