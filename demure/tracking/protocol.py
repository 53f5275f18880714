"""What every watcher is: told of a run's beginning, of every judged epoch, and of its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from demure.files import read_json, write_json

_REMEMBERED = "watchers.json"


@dataclass(frozen=True)
class RunInfo:
    """The run that is watched: its folder, the recipe's keys by whole name, and what else decides it."""

    run: Path
    recipe: Mapping[str, Any]
    facts: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What the run is called where it is shown."""
        return self.run.absolute().name

    def remembered(self, watcher: str) -> str | None:
        """What ``remember`` kept of a training that was interrupted and now goes on."""
        file = self.run / _REMEMBERED
        return read_json(file).get(watcher) if file.is_file() else None

    def remember(self, watcher: str, id: str) -> None:
        """Keep the ``id`` of the run at ``watcher``, so that a resumed training goes on in the same one."""
        file = self.run / _REMEMBERED
        write_json(file, (read_json(file) if file.is_file() else {}) | {watcher: id})


class Tracker(Protocol):
    """May raise: a watcher that fails is told of, and the training goes on."""

    def begin(self, about: RunInfo) -> None:
        """Before the first epoch, when the run folder is there."""

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        """After each judged epoch; ``values`` are the line of metrics.jsonl, and ``seconds`` since the beginning."""

    def end(self, values: Mapping[str, float], *, finished: bool) -> None:
        """Once: with the validation metrics of the best epoch, or not ``finished``, when something cut it off."""
