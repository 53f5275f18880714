"""Profile a training: seconds by stage, and a torch.profiler trace of a few of its steps."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demure.files import atomic_file
from demure.progress import Listener, Progress, ValidatedEpoch

TRACE = "trace.json"
_SKIPPED = 2  # steps: the first ones allocate, and the profiler warms up
_STEPS, _SECONDS = 5, 2.0  # traced at most: a trace of a minute is a gigabyte
_OPERATORS = 10


@dataclass(frozen=True)
class Operator:
    """``seconds`` in the operator itself, over all traced steps, and its ``share`` of them."""

    name: str
    calls: int
    seconds: float
    share: float


@dataclass(frozen=True)
class Profile:
    """``trace``: path of the Chrome JSON (chrome://tracing, ui.perfetto.dev), None where no step was traced.

    ``stages``: stage -> seconds of the whole training; ``operators``: the most expensive first, of the traced steps.
    """

    trace: str | None
    stages: dict[str, float]
    steps: int
    operators: list[Operator]


class Profiler:
    """A listener that measures a training and passes its progress on; :meth:`finish` writes the trace."""

    def __init__(self, listener: Listener) -> None:
        import torch
        from torch import profiler

        self.listener = listener
        self.stages: dict[str, float] = {}
        self._last, self._before = time.monotonic(), Progress("start", 0)
        activities = [profiler.ProfilerActivity.CPU]
        activities += [profiler.ProfilerActivity.CUDA] if torch.cuda.is_available() else []
        self._profiler: Any = profiler.profile(activities=activities, schedule=lambda step: self._action(step))
        self._running = True
        self._steps = 0
        self._recording = 0.0
        self._profiler.start()

    @staticmethod
    def _action(step: int) -> Any:
        from torch.profiler import ProfilerAction

        if step < _SKIPPED:
            return ProfilerAction.NONE if step < _SKIPPED - 1 else ProfilerAction.WARMUP
        return ProfilerAction.RECORD

    def _account(self, progress: Progress) -> float:
        """Add the time since the last report to a stage; return the present time."""
        now = time.monotonic()
        # "read features 0" announces a stage; "train 3/200" and a validated epoch report what is done.
        announced = self._before.total is None and not isinstance(self._before, ValidatedEpoch)
        stage = self._before.stage if announced else progress.stage
        self.stages[stage] = self.stages.get(stage, 0.0) + now - self._last
        return now

    def __call__(self, progress: Progress) -> None:
        now = self._account(progress)
        if progress.stage == "train" and self._running:
            self._steps += 1
            if self._steps == _SKIPPED:
                self._recording = now
            traced = self._steps - _SKIPPED
            if traced >= _STEPS or (traced > 0 and now - self._recording > _SECONDS):
                self.stop()
            else:
                self._profiler.step()
        self._before = progress
        self._last = time.monotonic()
        self.listener(progress)

    def stop(self) -> None:
        """End the trace."""
        if self._running:
            self._running = False
            self._profiler.stop()

    def finish(self, folder: Path) -> Profile:
        """Write ``folder``/trace.json and return the profile."""
        self.stop()
        self._account(Progress("finish", 1, 1))
        steps = max(0, self._steps - _SKIPPED)
        if not steps:
            return Profile(None, self.stages, 0, [])
        with atomic_file(folder / TRACE) as part:
            self._profiler.export_chrome_trace(str(part))
        rows = self._profiler.key_averages()
        seconds = [(row, (row.self_cpu_time_total + getattr(row, "self_device_time_total", 0)) / 1e6) for row in rows]
        seconds = [(row, value) for row, value in seconds if not row.key.startswith("ProfilerStep")]
        total = sum(value for _, value in seconds)
        largest = sorted(seconds, key=lambda pair: -pair[1])[:_OPERATORS]
        operators = [Operator(row.key, int(row.count), value, value / max(total, 1e-12)) for row, value in largest]
        return Profile(str(folder / TRACE), self.stages, steps, operators)
