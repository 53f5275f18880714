"""The training interactions of a run as a PyTorch ``Dataset``, each with the weight of every modality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from demure.diagnosis.weights import read_weights


class WeightedChoices(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """User, item and weights of every training interaction of a run, for the training of another recommender.

    Sample k is (user, item, weights): users and items are positions in ``user_ids`` and ``item_ids``, which are the
    numbers of `demure data export --format mmrec` and the rows of its features; weights (M,) float32 are the
    probabilities that each of ``modalities`` was a point of interest, 0 where the item lacks it.

    Shapes: N interactions, M modalities, U users, I items.

    Attributes:
        users, items: (N,) int64.
        weights: (N, M) float32.
        modalities: M names.
        user_ids, item_ids: the ids (U,), (I,) of the dataset.
        cannot_tell: the modalities whose features explain no more than shuffled ones: their weights are near 0, which
            is no reason to take the modality away.
    """

    def __init__(self, run: Path | str) -> None:
        """Read the verdicts of the folder ``run``. Raises ``RunError`` if it has no diagnosis."""
        weights = read_weights(run)
        self.modalities, self.cannot_tell = weights.modalities, weights.cannot_tell
        self.user_ids: np.ndarray = weights.dataset.user_ids
        self.item_ids: np.ndarray = weights.dataset.item_ids
        self.users, self.items = torch.from_numpy(weights.users), torch.from_numpy(weights.items)
        self.weights = torch.from_numpy(np.ascontiguousarray(weights.probability, dtype=np.float32))

    def __len__(self) -> int:
        """Return N."""
        return len(self.users)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return user (), item () and weights (M,) of one interaction."""
        return self.users[index], self.items[index], self.weights[index]
