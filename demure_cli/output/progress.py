"""Two ways to show the library's progress: bars on a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from demure.progress import ValidatedEpoch, Listener, Notice, Progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

_SECONDS_BETWEEN_LINES = 5.0
_WIDE = 100


def _facts(progress: Progress) -> str:
    return "  ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in progress.fields.items()
    )


def _validation(judged: ValidatedEpoch) -> str:
    """``recall@20 0.3446, best 0.3501 in epoch 17``; empty where nothing is held out to judge by."""
    value = judged.fields.get(judged.metric)
    if judged.metric == "epoch" or not isinstance(value, float):
        return ""
    told = f"{judged.metric.removeprefix('valid_').replace('_', '-')} {value:.4f}"
    best = "the best so far" if judged.best_at == judged.done else f"best {judged.best:.4f} in epoch {judged.best_at}"
    prior = judged.fields.get("prior")
    return f"{told}, {best}" + (f"  (of the loss {prior:.4f} is the prior)" if prior is not None else "")


class Lines:
    """A listener that writes a line when a stage begins, when it ends, and every few seconds between."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write, self._stage, self._last, self._judged = write, "", 0.0, ""
        self._began, self._first = 0.0, 0

    def __call__(self, progress: Progress) -> None:
        if isinstance(progress, Notice):
            self._write(f"note: {progress.text}")
            return
        if isinstance(progress, ValidatedEpoch):  # said with the next line of the training
            self._judged = _validation(progress)
            return
        now = time.monotonic()
        ends = progress.total is not None and progress.done >= progress.total
        if progress.stage == self._stage and not ends and now - self._last < _SECONDS_BETWEEN_LINES:
            return
        if progress.stage != self._stage:
            self._began, self._first = now, progress.done
        self._stage, self._last = progress.stage, now
        count = f"{progress.done}" if progress.total is None else f"{progress.done}/{progress.total}"
        judged = f"  {self._judged}" if self._judged and progress.stage == "train" else ""
        self._write(f"{progress.stage} {count}  {_facts(progress)}{judged}{self._left(progress, now)}".rstrip())

    def _left(self, progress: Progress, now: float) -> str:
        """How long the stage will take, once it has gone on for a while."""
        done, passed = progress.done - self._first, now - self._began
        if progress.total is None or done <= 0 or passed < _SECONDS_BETWEEN_LINES or progress.done >= progress.total:
            return ""
        seconds = (progress.total - progress.done) / done * passed
        return f"  {seconds / 60:.0f} min left" if seconds >= 90 else f"  {seconds:.0f} s left"


@contextlib.contextmanager
def bars(console: Console) -> Iterator[Listener]:
    """Yield a listener that draws one bar per stage on ``console``, and below a training what validation says."""
    from rich.progress import Progress as Bars
    from rich.text import Text

    with Bars(*_columns(console.width), console=console, expand=True) as shown:
        tasks: dict[str, TaskID] = {}
        below: list[TaskID] = []

        def listener(progress: Progress) -> None:
            if isinstance(progress, Notice):
                shown.console.print(Text(f"note: {progress.text}"))
                return
            if isinstance(progress, ValidatedEpoch):
                told = _validation(progress)
                if told and not below:
                    below.append(shown.add_task("  valid", total=1, facts="", plain=True))
                if told:
                    shown.update(below[0], facts=told)
                return
            if progress.stage not in tasks:
                for task in shown.tasks:  # a stage that ended without saying so
                    shown.update(task.id, visible=task.finished or task.id in below)
                tasks[progress.stage] = shown.add_task(progress.stage, total=progress.total, facts="", plain=False)
            shown.update(tasks[progress.stage], completed=progress.done, total=progress.total, facts=_facts(progress))

        yield listener


def _columns(width: int) -> list[Any]:
    """Name, bar, count, facts, units a second, and the time that is left at most; a line of ``plain`` facts has no
    more than those."""
    from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column
    from rich.text import Text

    class Left(TimeRemainingColumn):
        def render(self, task: Any) -> Text:
            if task.fields["plain"]:
                return Text("")
            ends = task.finished or task.total is None
            left = super().render(task)
            return left if ends else Text.assemble("< ", left)  # early stopping may end it before

    class Speed(ProgressColumn):
        def render(self, task: Any) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if task.fields["plain"] or not speed else f"{speed:.3g}/s", no_wrap=True)

    class Bar(BarColumn):
        def render(self, task: Any) -> Any:
            return Text("") if task.fields["plain"] else super().render(task)

    class Count(MofNCompleteColumn):
        def render(self, task: Any) -> Text:
            return Text("") if task.fields["plain"] or task.total is None else super().render(task)

    told = TextColumn(
        "{task.fields[facts]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
    )
    name = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True))
    speed, left = Speed(table_column=Column(no_wrap=True)), Left(compact=True, table_column=Column(no_wrap=True))
    if width >= _WIDE:
        return [name, Bar(bar_width=24), Count(table_column=Column(no_wrap=True)), told, speed, left]
    return [name, Bar(bar_width=8), told, speed, left]
