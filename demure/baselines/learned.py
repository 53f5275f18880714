"""The base class of baselines with weights: built from a task, trained by gradient steps, saved as tensors."""

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


LocalRows = Callable[[Tensor], Tensor]
"""Batch (B, ...) -> the rows that this process computes (b, ...)."""


def whole_batch(batch: Tensor) -> Tensor:
    """Return all rows: there is a single process."""
    return batch


@dataclass(frozen=True)
class LearnedOptions:
    """``dim`` of every embedding; Adam's ``learning_rate``; ``batch``: pairs or users of a step; at most ``epochs``,
    validated after each ``every``, and stopped after ``patience`` validations without a better one."""

    dim: int = 64
    learning_rate: float = 1e-3
    batch: int = 2048
    epochs: int = 300
    every: int = 2
    patience: int = 10


@dataclass(frozen=True)
class Task:
    """The data of a training: ``train`` histories of U users over ``n_items`` items, and the ``content``.

    ``content``: modality -> features (I, d) float32, with zero rows where the item does not have the modality.
    """

    train: Histories
    n_items: int
    content: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.train.indptr) - 1


class Learned(nn.Module):
    """A baseline that learns by gradient. All its weights are in ``state_dict``; all else follows from its task.

    ``by_history``: whether it scores users by their histories, so that they may be new.
    """

    by_history = False
    options: LearnedOptions

    def batches(self, generator: torch.Generator) -> Sequence[Tensor]:
        """Return the batches of one epoch, in the order of its steps."""
        raise NotImplementedError

    def step_loss(
        self, batch: Tensor, generator: torch.Generator, local_rows_of: LocalRows = whole_batch
    ) -> Tensor | None:
        """Return the loss of a step, a scalar.

        Where several processes share a step, each computes the part of the loss of its rows of the batch, which
        ``local_rows_of`` selects; the parts add up to the loss. None if it has no rows. Random numbers are drawn for
        the whole batch, so that all processes draw the same.
        """
        raise NotImplementedError

    def rowwise(self) -> list[nn.Parameter]:
        """Return the tables that are so large that the gradient of a step is sparse: of the rows it uses."""
        return []

    def scorer(self, histories: Histories) -> Scorer:
        """Return a scorer of users (B,) -> (B, I) float32, a tensor on the model's device.

        Models with a vector per user ignore ``histories``.
        """
        raise NotImplementedError
