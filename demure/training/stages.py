"""The stages of a training by name, as its progress reports them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from demure.progress import Notice

if TYPE_CHECKING:
    from demure.training.checkpoint import TrainingLog

READ, TRAIN, RIVALS = "read features", "train", "fit the rivals of content"
COMPARE, SHARES = "compare with shuffled features", "learn from shuffled features"
MESSAGES, FUSION, DIAGNOSE = "exchange messages of choices", "tune the fusion", "diagnose"
PLACEBO, INTERESTS = "measure shuffled features", "name the interests"


def stages_of(*, rivals: bool) -> tuple[str, ...]:
    """Return the stages of the training of a denoiser, with or without rivals of the content."""
    trained: Sequence[str] = (TRAIN, RIVALS, TRAIN, RIVALS) if rivals else (TRAIN,)
    return (READ, *trained, COMPARE, SHARES, MESSAGES, FUSION, DIAGNOSE, PLACEBO, INTERESTS)


def stopped_early(log: TrainingLog, since_best: int, limit: int, part: str = "") -> Notice:
    """Return the notice that validation has not improved for ``since_best`` epochs, before the ``limit`` of a training,
    or of a ``part`` of it, as in "of the offsets"."""
    most = f"before its limit of {limit} epoch{'s' * (limit != 1)}"
    epochs = f"{since_best} epoch{'s' * (since_best != 1)}"
    return Notice(
        "stopped",
        0,
        text=f"training{part and f' {part}'} stopped after epoch {log.last_epoch}, {most}: validation has not improved "
        f"for {epochs}; epoch {log.best_epoch} is the best so far, and it is kept",
    )
