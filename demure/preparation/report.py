"""The result of ``demure prepare``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from demure.data.leakage import LeakCounts
from demure.preparation.problems import Problem
from demure.preparation.steps import CleaningStep


@dataclass(frozen=True)
class PreparedReport:
    """The dataset that was made, and how it was made.

    Attributes:
        counts: users, items, cold_items (without interactions), interactions, and of a single split its train, valid
            and test.
        steps: cleaning and filtering, in order.
        problems: kind -> count, action, first rows.
        notes: guesses and choices that were made, a sentence each.
        item_rows: (I,) int64: each item's row, from 0, in the items file and the ``.npy`` matrices; -1 without an items
            file. ``item_file_rows``: how many rows these have.
        feature_files: modality -> file of features to import.
        splits: name of a split -> its counts; ``folders``: name -> its dataset folder.
        written: false after a dry run.
    """

    dataset: Path
    format: str
    counts: dict[str, int]
    steps: list[CleaningStep]
    problems: dict[str, Problem]
    notes: list[str]
    item_rows: np.ndarray
    item_file_rows: int
    feature_files: dict[str, Path]
    images_root: Path | None = None
    media_roots: dict[str, Path] = field(default_factory=dict)
    splits: dict[str, LeakCounts] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)
    written: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it; ``item_rows`` is left out."""
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
