"""Limit the computing time of a process: the system ends it, whatever its code in C is doing."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator

if sys.platform == "win32":
    OUT_OF_TIME = None

    @contextlib.contextmanager
    def limited_to(seconds: float) -> Iterator[None]:
        """Do nothing: this system has no such timer."""
        yield

else:
    OUT_OF_TIME = -signal.SIGPROF  # the exit status of a process whose time was up

    @contextlib.contextmanager
    def limited_to(seconds: float) -> Iterator[None]:
        """End this process if the block takes more than ``seconds`` of computing time."""
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
