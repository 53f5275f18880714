"""What baselines with weights have in common: built from a task, trained by gradient steps, saved as tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from demure.evaluation.ranking import Scorer

if TYPE_CHECKING:
    from demure.data.dataset import Histories


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

    def losses(self, generator: torch.Generator) -> Iterator[Tensor]:
        """One epoch: the loss of each step, a scalar to go down; the weights may change between two of them."""
        raise NotImplementedError

    def scorer(self, histories: Histories) -> Scorer:
        """A scorer of users (B,) -> (B, I) float32; models of users themselves pay ``histories`` no attention."""
        raise NotImplementedError
