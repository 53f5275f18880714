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


DENOISING = 0.5
"""Default of ``denoising``: the better of 0.5 and 1 on real sets (benchmarks/LOG.md)."""
TRUNCATION_EPOCHS = 10
"""Epochs until the whole share of large losses is left out."""


@dataclass(frozen=True)
class LearnedOptions:
    """``dim`` of every embedding; Adam's ``learning_rate``; ``batch``: pairs or users of a step; at most ``epochs``,
    validated after each ``every``, and stopped after ``patience`` validations without a better one. ``truncation`` and
    ``reweighting`` of losses: :func:`denoised_mean`."""

    dim: int = 64
    learning_rate: float = 1e-3
    batch: int = 2048
    epochs: int = 300
    every: int = 2
    patience: int = 10
    truncation: float = 0.0
    reweighting: float = 0.0


@dataclass(frozen=True)
class Task:
    """The data of a training: ``train`` histories of U users over ``n_items`` items, and the ``content``.

    ``content``: modality -> features (I, d) float32, with zero rows where the item does not have the modality.
    ``weights``: modality -> how much each of the N training interactions counts for it, (N,) float32; None: in full.
    """

    train: Histories
    n_items: int
    content: Mapping[str, np.ndarray] = field(default_factory=dict)
    weights: Mapping[str, np.ndarray] | None = None

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.train.indptr) - 1

    def weights_of(self, modalities: Sequence[str]) -> np.ndarray | None:
        """Return the weights of the training interactions (N, M) float32, 1 for a modality that has none."""
        if self.weights is None:
            return None
        full = np.ones(len(self.train.items), np.float32)
        return np.stack([self.weights.get(name, full) for name in modalities], axis=1).astype(np.float32)


class Learned(nn.Module):
    """A baseline that learns by gradient. All its weights are in ``state_dict``; all else follows from its task.

    ``by_history``: whether it scores users by their histories, so that they may be new. ``epoch``: the present one,
    from 1; the training loop sets it.
    """

    by_history = False
    epoch = 0
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

    def mean_loss(self, losses_N: Tensor) -> Tensor:
        """Return the mean of the losses of interactions (N,), denoised where the options ask for it."""
        truncation = self.options.truncation * min(1.0, self.epoch / TRUNCATION_EPOCHS)
        return denoised_mean(losses_N, truncation, self.options.reweighting)

    def rowwise(self) -> list[nn.Parameter]:
        """Return the tables that are so large that the gradient of a step is sparse: of the rows it uses."""
        return []

    def scorer(self, histories: Histories) -> Scorer:
        """Return a scorer of users (B,) -> (B, I) float32, a tensor on the model's device.

        Models with a vector per user ignore ``histories``.
        """
        raise NotImplementedError


def denoised_mean(losses_N: Tensor, truncation: float, reweighting: float) -> Tensor:
    """Return the mean of losses in which large ones, which are likelier of noise, count less.

    W. Wang et al., WSDM 2021, arXiv 2006.04153: ``truncation`` is the share of the largest losses that is left out
    (their T-CE; it grows from 0 over the first epochs), and ``reweighting`` the exponent of the weight p^exponent of a
    loss -log p (their R-CE), which is constant for the gradient. Departures: the paper's losses are of
    single items, these of a pair or a softmax; its share grows with the steps, here with the epochs; where several
    processes share a step, each leaves out the share of its own part.
    """
    if reweighting:
        losses_N = losses_N * (-reweighting * losses_N.detach()).exp()
    count = round((1 - truncation) * len(losses_N))
    if count < len(losses_N):
        losses_N = losses_N.topk(max(count, 1), largest=False).values
    return losses_N.mean()
