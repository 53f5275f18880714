"""Assign users to the variants of an experiment, which is what a what-if cannot replace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from demure.errors import DemureError
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


def refuse_other_file(out: Path) -> None:
    """Raise ``DemureError`` unless ``out`` can hold an assignment: a new CSV file, or an earlier assignment."""
    if out.suffix.lower() != ".csv":
        raise DemureError("the assignment is a CSV file", where=out, remedy="give a name that ends in .csv")
    if out.is_file():
        with open(out, "rb") as file:
            header = file.readline(1000)
        if header.strip() != b"user_id,variant":
            raise DemureError("already exists, and is not an assignment", where=out, remedy="choose another --ab-test")


def write_assignment(out: Path, frame: pd.DataFrame) -> None:
    """Write an assignment as CSV. Raises ``DemureError`` if the file cannot be written."""
    with atomic_file(out) as part:
        part.write_text(csv_text(list(frame.columns), frame.to_numpy().tolist()), encoding="utf-8", newline="")
