"""The interface of a tracker: it receives the start of a run, every validated epoch, and the end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from demure.files import read_json, write_json

_RUN_IDS = "watchers.json"  # the name of the first release, so that its runs can be resumed


@dataclass(frozen=True)
class RunInfo:
    """A run as trackers see it: its ``folder``, the ``recipe`` with whole names of keys, and other ``facts``.

    ``working``: the folder that the training writes to if that is not ``folder`` yet.
    """

    folder: Path
    recipe: Mapping[str, Any]
    facts: Mapping[str, Any]
    working: Path | None = None

    @property
    def files(self) -> Path:
        """The folder for the tracker's files."""
        return self.working or self.folder

    @property
    def name(self) -> str:
        """The name of the run where it is shown."""
        return self.folder.absolute().name

    def load_id(self, tracker: str) -> str | None:
        """Return the id that ``tracker`` gave this run before it was interrupted, None for a new run."""
        file = self.files / _RUN_IDS
        return read_json(file).get(tracker) if file.is_file() else None

    def save_id(self, tracker: str, run_id: str) -> None:
        """Keep the id that ``tracker`` gave this run, so that a resumed training goes on in the same one."""
        file = self.files / _RUN_IDS
        write_json(file, (read_json(file) if file.is_file() else {}) | {tracker: run_id})


class Tracker(Protocol):
    """Methods may raise: a tracker that fails is reported, and the training goes on."""

    def begin(self, info: RunInfo) -> None:
        """Start, before the first epoch, when the run folder exists."""

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        """Record a validated epoch: the line of metrics.jsonl, and ``seconds`` since the beginning."""

    def end(self, values: Mapping[str, float], *, finished: bool) -> None:
        """End once: with the validation metrics of the best epoch, or not ``finished``, if the training was cut off."""
