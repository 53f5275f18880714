"""What baselines with weights have in common: built from a task, trained by gradient steps, saved as tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from demure.evaluation.ranking import Scorer

if TYPE_CHECKING:
    from demure.data.histories import Histories


Own = Callable[[Tensor], Tensor]
"""The part of a batch (B, ...) that is this process' own, (b, ...)."""


def whole(batch: Tensor) -> Tensor:
    """All of it: there is one process."""
    return batch


@dataclass(frozen=True)
class LearnedOptions:
    """``dim`` of every embedding; Adam's ``learning_rate``; at most ``epochs``, judged on validation after each
    ``every``, and stopped after ``patience`` judgements without a better one."""

    dim: int = 64
    learning_rate: float = 1e-3
    batch: int = 2048
    epochs: int = 300
    every: int = 2
    patience: int = 10


@dataclass(frozen=True)
class Task:
    """What there is to learn from: training histories of U users over ``n_items``, and each modality's features, (I, d)
    float32 with zero rows where it is missing."""

    train: Histories
    n_items: int
    content: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def n_users(self) -> int:
        return len(self.train.indptr) - 1


class Learned(nn.Module):
    """A baseline that learns by gradient. All its weights are in ``state_dict``, all else follows from its task.

    ``by_history``: it can score users that it has not seen, by their histories.
    """

    by_history = False
    options: LearnedOptions

    def batches(self, generator: torch.Generator) -> Sequence[Tensor]:
        """What the steps of one epoch learn from, in their order."""
        raise NotImplementedError

    def loss_of(self, batch: Tensor, generator: torch.Generator, own: Own = whole) -> Tensor | None:
        """The loss of a step, a scalar to go down; the weights change between two of them.

        Where several processes share a step, each computes the part of the loss that falls on its ``own`` part of the
        batch; the parts add up to the loss. None if it has none. What is drawn is drawn for the whole batch.
        """
        raise NotImplementedError

    def rowwise(self) -> list[nn.Parameter]:
        """Tables so large that a step's gradient is sparse: of the rows it touches."""
        return []

    def scorer(self, histories: Histories) -> Scorer:
        """A scorer of users (B,) -> (B, I) float32; models of users themselves pay ``histories`` no attention."""
        raise NotImplementedError
