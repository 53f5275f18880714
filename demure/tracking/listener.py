"""A listener that tells watchers of every judged epoch, and never lets one of them stop the training."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Mapping

from demure.progress import ValidatedEpoch, Listener, Notice, Progress
from demure.tracking.protocol import RunInfo, Tracker


class TrackingListener:
    """Passes everything on to ``listener``. A watcher that fails is told of once; one that cannot begin is left out."""

    def __init__(self, watchers: Mapping[str, Tracker], about: RunInfo, listener: Listener) -> None:
        self.watchers, self.about, self.listener = dict(watchers), about, listener
        self.failures: dict[str, str] = {}
        self._begun = False
        self._start = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        if isinstance(progress, ValidatedEpoch):
            self._begin()
            values = {**progress.fields, "seconds": round(time.monotonic() - self._start, 3)}
            numbers = {name: float(value) for name, value in values.items() if not isinstance(value, str)}
            for name, watcher in list(self.watchers.items()):
                self._tell(name, lambda one=watcher: one.epoch(progress.done, numbers))  # type: ignore[misc]
        self.listener(progress)

    def end(self, values: Mapping[str, float], *, finished: bool) -> None:
        """Say how it ended; where nothing was judged, also that it began."""
        if finished:
            self._begin()
        for name, watcher in list(self.watchers.items()) if self._begun else ():
            self._tell(name, lambda one=watcher: one.end(values, finished=finished))  # type: ignore[misc]

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            for name, watcher in list(self.watchers.items()):
                if not self._tell(name, lambda one=watcher: one.begin(self.about)):  # type: ignore[misc]
                    del self.watchers[name]

    def _tell(self, name: str, call: Callable[[], None]) -> bool:
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # standard output is for results
                call()
        except (Exception, SystemExit) as error:  # whatever a foreign package or its server does
            if name not in self.failures:
                self.failures[name] = f"{name} failed ({type(error).__name__}: {error}); the training goes on"
                self.listener(Notice("watch", 0, text=self.failures[name]))
            return False
        return True
