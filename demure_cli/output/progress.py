"""Show the progress of the library: bars on a terminal, plain lines in a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from demure.progress import Listener, Notice, Plan, Progress, ValidatedEpoch
from demure_cli.output.characters import safe

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn, TaskID

_SECONDS_BETWEEN_LINES = 5.0
_SHOW_MINUTES_FROM = 90.0  # seconds
_ROOMY = 100


def _facts(progress: Progress) -> str:
    return "  ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {safe(value)}"
        for name, value in progress.fields.items()
    )


def _validation(epoch: ValidatedEpoch) -> str:
    """Return ``recall@20 0.3446, best 0.3501 in epoch 17``; an empty text without a validation metric."""
    value = epoch.fields.get(epoch.metric)
    if epoch.metric == "epoch" or not isinstance(value, float):
        return ""
    metric = epoch.metric.removeprefix("valid_").replace("_", "-")
    best = "the best so far" if epoch.best_epoch == epoch.done else f"best {epoch.best:.4f} in epoch {epoch.best_epoch}"
    prior = epoch.fields.get("prior")
    return f"{metric} {value:.4f}, {best}" + (
        f"  (the loss includes {prior:.4f} of prior)" if prior is not None else ""
    )


class _Stages:
    """The stage of a planned operation that runs at present, and how many follow."""

    def __init__(self) -> None:
        self._names: tuple[str, ...] = ()
        self._position = -1
        self._name = ""

    def plan(self, names: tuple[str, ...]) -> None:
        self._names, self._position, self._name = names, -1, ""

    def enter(self, name: str) -> None:
        """Go on to the next stage of this name; a stage that the plan lacks does not count."""
        if name != self._name and name in self._names[self._position + 1 :]:
            self._position, self._name = self._names.index(name, self._position + 1), name

    def __str__(self) -> str:
        """``stage 3 of 11``, or an empty text without a plan."""
        return f"stage {self._position + 1} of {len(self._names)}" if self._name else ""


class Lines:
    """A listener that writes a line when a stage begins, when it ends, and every few seconds between."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write, self._stage, self._validation = write, "", ""
        self._last_line, self._stage_start, self._first_done = 0.0, 0.0, 0
        self._stages = _Stages()

    def __call__(self, progress: Progress) -> None:
        if isinstance(progress, Notice):
            self._write(f"note: {safe(progress.text)}")
            return
        if isinstance(progress, Plan):
            self._stages.plan(progress.stages)
            return
        if isinstance(progress, ValidatedEpoch):  # printed with the next line of the training
            self._validation = _validation(progress)
            return
        now = time.monotonic()
        ends = progress.total is not None and progress.done >= progress.total
        if progress.stage == self._stage and not ends and now - self._last_line < _SECONDS_BETWEEN_LINES:
            return
        if progress.stage != self._stage:
            self._stage_start, self._first_done = now, progress.done
            self._stages.enter(progress.stage)
        self._stage, self._last_line = progress.stage, now
        count = f"{progress.done}" if progress.total is None else f"{progress.done}/{progress.total}"
        validation = self._validation if progress.stage == "train" else ""
        parts = (f"{progress.stage} {count}", _facts(progress), validation, self._remaining(progress, now))
        self._write("  ".join(part for part in parts if part))

    def _remaining(self, progress: Progress, now: float) -> str:
        """Return the place of the stage in the plan, and its estimated remaining time once it has run for some
        seconds. The time is that of the stage alone: how long the stages after it take is not known before."""
        done, passed = progress.done - self._first_done, now - self._stage_start
        place = str(self._stages)
        if progress.total is None or done <= 0 or passed < _SECONDS_BETWEEN_LINES or progress.done >= progress.total:
            return place and f"({place})"
        seconds = (progress.total - progress.done) / done * passed
        about = f"{seconds / 60:.0f} min" if seconds >= _SHOW_MINUTES_FROM else f"{seconds:.0f} s"
        return f"({place}: about {about} left of it)" if place else f"about {about} left"


@contextlib.contextmanager
def bars(console: Console) -> Iterator[Listener]:
    """Yield a listener that draws one bar per stage on ``console``, and below a training its validation metric."""
    from rich.progress import Progress as Bars
    from rich.text import Text

    with Bars(*_columns(console.width, no_color=console.no_color), console=console, expand=True) as shown:
        tasks: dict[str, TaskID] = {}
        validation: list[TaskID] = []
        stages, entered = _Stages(), ""

        def listener(progress: Progress) -> None:
            nonlocal entered
            if isinstance(progress, Plan):
                stages.plan(progress.stages)
                return
            if isinstance(progress, Notice):
                shown.console.print(Text(f"note: {safe(progress.text)}"))
                return
            if isinstance(progress, ValidatedEpoch):
                facts = _validation(progress)
                if facts and not validation:
                    validation.append(shown.add_task("  valid", total=1, facts="", plain=True))
                if facts:
                    shown.update(validation[0], facts=facts)
                return
            if progress.stage not in tasks:
                for task in shown.tasks:  # hide a stage that ended before its total
                    shown.update(task.id, visible=task.finished or task.id in validation)
                tasks[progress.stage] = shown.add_task(progress.stage, total=progress.total, facts="", plain=False)
            if progress.stage != entered:
                entered = progress.stage
                stages.enter(entered)
            place = f"{stages}  " if str(stages) else ""
            facts = f"{place}{_facts(progress)}"
            shown.update(tasks[progress.stage], completed=progress.done, total=progress.total, facts=facts)

        yield listener


def _columns(width: int, *, no_color: bool) -> list[ProgressColumn]:
    """Return the columns: name, bar, count, facts, units per second, and the remaining time of the stage. A line of
    ``plain`` facts has a name and facts only."""
    from rich.console import RenderableType
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column
    from rich.text import Text

    class Remaining(TimeRemainingColumn):
        def render(self, task: Task) -> Text:
            if task.fields["plain"]:
                return Text("")
            return super().render(task)

    class Speed(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if task.fields["plain"] or not speed else f"{speed:.3g}/s", no_wrap=True)

    class Bar(BarColumn):
        def render(self, task: Task) -> RenderableType:  # type: ignore[override]
            # Without colours the moving bar of an unknown total would look like a finished one.
            hidden = task.fields["plain"] or (task.total is None and no_color)
            return Text("") if hidden else super().render(task)

    class Count(MofNCompleteColumn):
        def render(self, task: Task) -> Text:
            return Text("") if task.fields["plain"] or task.total is None else super().render(task)

    facts = TextColumn(
        "{task.fields[facts]}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1)
    )
    name = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True))
    speed = Speed(table_column=Column(no_wrap=True))
    remaining = Remaining(compact=True, table_column=Column(no_wrap=True))
    if width >= _ROOMY:
        return [name, Bar(bar_width=24), Count(table_column=Column(no_wrap=True)), facts, speed, remaining]
    return [name, Bar(bar_width=8), facts, speed, remaining]
