"""Assign users to the variants of an experiment, which is what a what-if cannot replace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from demure.files import atomic_file, csv_text

CONTROL = "as it is"


def assign(user_ids: np.ndarray, choices_U: np.ndarray, variants: Sequence[str], seed: int) -> pd.DataFrame:
    """Return ``user_id`` and ``variant`` of every user: one of ``variants``, or the item as it is.

    Users with about the same number of choices are dealt to the variants in equal numbers, at random.
    """
    names, random = [CONTROL, *variants], np.random.default_rng(seed)
    order = np.lexsort((random.random(len(user_ids)), choices_U))
    block = np.arange(len(order)) // len(names)
    dealt = np.empty(len(order), np.int64)
    dealt[np.lexsort((random.random(len(order)), block))] = np.arange(len(order)) % len(names)
    variant = np.empty(len(order), np.int64)
    variant[order] = dealt
    return pd.DataFrame({"user_id": user_ids, "variant": np.array(names, dtype=object)[variant]})


def write_assignment(out: Path, frame: pd.DataFrame) -> None:
    """Write an assignment as CSV. Raises ``DemureError`` if the file cannot be written."""
    with atomic_file(out) as part:
        part.write_text(csv_text(list(frame.columns), frame.to_numpy().tolist()), encoding="utf-8", newline="")
