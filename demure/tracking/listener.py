"""A listener that passes validated epochs to trackers, and lets none of them stop the training."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Mapping
from functools import partial

from demure.progress import FinishedTraining, Listener, Notice, Progress, ValidatedEpoch
from demure.tracking.protocol import RunInfo, Tracker


class TrackingListener:
    """Passes every progress on to ``listener``, and validated epochs to ``trackers``.

    The first failure of a tracker is reported in a notice and kept in ``failures``; a tracker that cannot begin is left
    out.
    """

    def __init__(self, trackers: Mapping[str, Tracker], info: RunInfo, listener: Listener) -> None:
        self.trackers, self.info, self.listener = dict(trackers), info, listener
        self.failures: dict[str, str] = {}
        self._begun = self._ended = False
        self._start = time.monotonic()

    def __call__(self, progress: Progress) -> None:
        if isinstance(progress, ValidatedEpoch):
            self._begin()
            values = {**progress.fields, "seconds": round(time.monotonic() - self._start, 3)}
            numbers = {name: float(value) for name, value in values.items() if not isinstance(value, str)}
            for name, tracker in list(self.trackers.items()):
                self._call(name, partial(tracker.epoch, progress.done, numbers))
        if isinstance(progress, FinishedTraining):  # trackers close their files before the folder moves
            self.end(progress.valid, finished=True)
        self.listener(progress)

    def end(self, values: Mapping[str, float], *, finished: bool) -> None:
        """End all trackers, once; where no epoch was validated, a finished training begins them first."""
        if self._ended:
            return
        self._ended = True
        if finished:
            self._begin()
        for name, tracker in list(self.trackers.items()) if self._begun else ():
            self._call(name, partial(tracker.end, values, finished=finished))

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            for name, tracker in list(self.trackers.items()):
                if not self._call(name, partial(tracker.begin, self.info)):
                    del self.trackers[name]

    def _call(self, name: str, method: Callable[[], None]) -> bool:
        """Return whether the call succeeded."""
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # standard output is for results
                method()
        except (Exception, SystemExit) as error:  # whatever a foreign package or its server does
            if name not in self.failures:
                self.failures[name] = f"{name} failed ({type(error).__name__}: {error}); the training goes on"
                self.listener(Notice("track", 0, text=self.failures[name]))
            return False
        return True
