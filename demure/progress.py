"""How long work tells its caller where it is. The library never prints: it calls a listener."""

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
    """The default listener: nobody is watching."""


@dataclass(frozen=True)
class ValidatedEpoch(Progress):
    """A training judged its ``done``-th epoch: ``fields`` are the line of metrics.jsonl. ``metric`` names what decides,
    ``best`` is its highest value so far, in the entry ``best_at``."""

    metric: str = ""
    best: float = float("nan")
    best_at: int = 0


@dataclass(frozen=True)
class Notice(Progress):
    """Something went wrong that does not stop the work: ``text`` says what."""

    text: str = ""
