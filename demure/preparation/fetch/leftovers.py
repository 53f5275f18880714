"""Remove the unfinished files of a download that was killed, but not those of one that is still running."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from demure.leftovers import sweep
from demure.locks import hold

LOCK = ".download.lock"


@contextlib.contextmanager
def sweep_unless_in_use(folder: Path) -> Iterator[None]:
    """Remove unfinished files from ``folder`` if no other download is at work there; be at work inside the block."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # a file system without locks: nothing there is swept
            with hold(folder / LOCK) as alone:
                if alone:
                    sweep(folder)
            stack.enter_context(hold(folder / LOCK, wait=True, shared=True))
        yield
