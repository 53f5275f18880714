"""Progress reports of long operations. The library never prints: it calls a listener."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Progress:
    """One report: ``done`` of ``total`` units of ``stage``; ``fields`` are short facts to show beside the bar."""

    stage: str
    done: int
    total: int | None = None
    fields: dict[str, float | str] = field(default_factory=dict)


Listener = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """Ignore the report: the default listener."""


@dataclass(frozen=True)
class ValidatedEpoch(Progress):
    """The report of a validated epoch of a training, the ``done``-th.

    ``fields`` are the line of metrics.jsonl; ``metric`` is the metric that selects the best epoch, ``best`` its highest
    value so far, and ``best_epoch`` the epoch of that value.
    """

    metric: str = ""
    best: float = float("nan")
    best_epoch: int = 0


@dataclass(frozen=True)
class Plan(Progress):
    """The announcement of ``stages``, by name and in their order; one that repeats is there each time."""

    stages: tuple[str, ...] = ()


class Steps:
    """Count the ``total`` steps of a stage: each call reports one more to ``listener``. The total may be unknown."""

    def __init__(self, listener: Listener, stage: str, total: int | None = None) -> None:
        self._listener, self._stage, self._total, self._done = listener, stage, total, 0

    def __call__(self) -> None:
        self._done += 1
        self._listener(Progress(self._stage, self._done, self._total))


@dataclass(frozen=True)
class Notice(Progress):
    """A problem that does not stop the operation: ``text`` describes it."""

    text: str = ""


@dataclass(frozen=True)
class FinishedTraining(Progress):
    """The end of a training, before its folder takes the place of an earlier run; ``valid`` as in run.json."""

    valid: dict[str, float] = field(default_factory=dict)
