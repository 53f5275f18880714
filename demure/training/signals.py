"""Ctrl-C and SIGTERM at a moment that leaves nothing half done."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While entered, both signals raise ``KeyboardInterrupt``: at once, but within :meth:`held` only at its end, unless
    asked a second time. Elsewhere than in the main thread, where no signals arrive, it does nothing."""

    def __init__(self) -> None:
        self._held = self._asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = {one: signal.signal(one, self._ask) for one in _SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Work that is done or not done."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._asked:
            self._asked = False
            raise KeyboardInterrupt

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if not self._held or self._asked:
            raise KeyboardInterrupt
        self._asked = True
