"""What ``demure prepare`` tells when it is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from demure.data.leakage import Leaks
from demure.prepare.cleaning import Step
from demure.prepare.problems import Problem


@dataclass(frozen=True)
class PreparedReport:
    """What was made, and what a reader should know about it.

    ``counts``: users, items, cold_items (without interactions), interactions, and of one split its train, valid, test.
    ``splits``: by name what each split holds and leaks; ``folders``: where each lies. ``steps``: cleaning and filtering
    in order. ``problems``: kind -> count, action, first rows. ``notes``: what was guessed or chosen. ``item_rows`` (I,)
    int64: each item's row, from 0, in the items file and the ``.npy`` matrices, which have ``item_file_rows`` rows; -1
    without an items file. ``feature_files``: features to import, by modality. ``written``: false after a dry run.
    """

    dataset: Path
    format: str
    counts: dict[str, int]
    steps: list[Step]
    problems: dict[str, Problem]
    notes: list[str]
    item_rows: np.ndarray
    item_file_rows: int
    feature_files: dict[str, Path]
    images_root: Path | None = None
    splits: dict[str, Leaks] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    written: bool = True

    def to_dict(self) -> dict[str, Any]:
        """As JSON; ``item_rows`` is left out."""
        return {
            "dataset": str(self.dataset),
            "written": self.written,
            "format": self.format,
            "counts": self.counts,
            "splits": {name: leaks.to_dict() for name, leaks in self.splits.items()},
            "folders": {name: str(path) for name, path in self.folders.items()},
            "steps": [vars(step) for step in self.steps],
            "problems": {kind: problem.to_dict() for kind, problem in self.problems.items()},
            "notes": self.notes,
            "features": {name: str(path) for name, path in self.feature_files.items()},
        }
