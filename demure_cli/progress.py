"""Two ways to show the library's progress: bars on a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from demure.progress import Listener, Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

_SECONDS_BETWEEN_LINES = 5.0


def _facts(progress: Progress) -> str:
    return "  ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in progress.fields.items()
    )


class Lines:
    """A listener that writes a line when a stage begins, when it ends, and every few seconds between."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write, self._stage, self._last = write, "", 0.0
        self._began, self._first = 0.0, 0

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        ends = progress.total is not None and progress.done >= progress.total
        if progress.stage == self._stage and not ends and now - self._last < _SECONDS_BETWEEN_LINES:
            return
        if progress.stage != self._stage:
            self._began, self._first = now, progress.done
        self._stage, self._last = progress.stage, now
        count = f"{progress.done}" if progress.total is None else f"{progress.done}/{progress.total}"
        self._write(f"{progress.stage} {count}  {_facts(progress)}{self._left(progress, now)}".rstrip())

    def _left(self, progress: Progress, now: float) -> str:
        """How long the stage will take, once it has gone on for a while."""
        done, passed = progress.done - self._first, now - self._began
        if progress.total is None or done <= 0 or passed < _SECONDS_BETWEEN_LINES or progress.done >= progress.total:
            return ""
        seconds = (progress.total - progress.done) / done * passed
        return f"  {seconds / 60:.0f} min left" if seconds >= 90 else f"  {seconds:.0f} s left"


@contextlib.contextmanager
def bars(console: Console) -> Iterator[Listener]:
    """Yield a listener that draws one bar per stage on ``console``."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None if console.width >= 120 else 16),
        MofNCompleteColumn(),
        TextColumn("{task.fields[facts]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console, expand=console.width >= 120) as shown:
        tasks: dict[str, TaskID] = {}

        def listener(progress: Progress) -> None:
            if progress.stage not in tasks:
                for task in shown.tasks:  # a stage that ended without saying so
                    shown.update(task.id, visible=task.finished)
                tasks[progress.stage] = shown.add_task(progress.stage, total=progress.total, facts="")
            shown.update(tasks[progress.stage], completed=progress.done, total=progress.total, facts=_facts(progress))

        yield listener
