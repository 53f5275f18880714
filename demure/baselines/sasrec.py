"""SASRec: the next item by self-attention over those before it (W. Kang and J. McAuley, ICDM 2018, arXiv 1808.09781).

Trained with cross-entropy over all items at every position, which does better than the paper's one negative
(A. Klenitskiy and A. Vasilev, RecSys 2023, arXiv 2309.07602). With features, an item is a linear map of its embedding
and its features side by side.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from demure.baselines.learned import Learned, LearnedOptions, Task
from demure.errors import DemureError
from demure.evaluation.ranking import Scorer

if TYPE_CHECKING:
    from demure.data.dataset import Histories


@dataclass(frozen=True)
class SASRecOptions(LearnedOptions):
    """``longest`` history read, its end; ``layers`` of ``heads`` heads; ``content`` above 0: items have features too.
    ``batch`` counts users."""

    learning_rate: float = 2e-3
    batch: int = 16
    every: int = 1
    longest: int = 100
    layers: int = 2
    heads: int = 2
    dropout: float = 0.3
    content: float = 0.0


class SASRec(Learned):
    """Causal transformer; the score of an item is the inner product of its vector with the last position's output."""

    by_history = True
    content_IF: Tensor

    def __init__(self, task: Task, options: Any = None) -> None:
        super().__init__()
        self.options: SASRecOptions = options or SASRecOptions()
        if task.train.times is None:
            raise DemureError(
                "the interactions carry no timestamps, so nothing comes next",
                where="sasrec",
                remedy="use a recipe that is blind to order, or prepare the dataset with a timestamp column",
            )
        dim = self.options.dim
        self.train_part, self.n_items = task.train, task.n_items
        self.items = nn.Embedding(task.n_items, dim)
        self.positions = nn.Embedding(self.options.longest, dim)
        for table in (self.items, self.positions):
            nn.init.normal_(table.weight, std=0.02)
        self.mix: nn.Linear | None = None
        if self.options.content > 0:
            if not task.content:
                raise DemureError("needs features of the items", where="sasrec", remedy="run `demure extract`")
            content = torch.as_tensor(np.concatenate(list(task.content.values()), axis=1))
            self.register_buffer("content_IF", content, persistent=False)
            self.mix = nn.Linear(dim + content.shape[1], dim)
        self.drop = nn.Dropout(self.options.dropout)
        block = nn.TransformerEncoderLayer(
            dim, self.options.heads, dim * 4, self.options.dropout, "gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, self.options.layers, nn.LayerNorm(dim), enable_nested_tensor=False)

    def vectors(self) -> Tensor:
        """Items (I, D)."""
        if self.mix is None:
            return self.items.weight
        mixed: Tensor = self.mix(torch.cat([self.items.weight, self.content_IF], dim=1))
        return mixed

    def states(self, items_BT: Tensor, vectors_ID: Tensor) -> Tensor:
        """Outputs (B, T, D) at every position of histories padded with -1 at the end; each sees itself and the past."""
        T = items_BT.shape[1]
        read = self.drop(vectors_ID[items_BT.clamp(min=0)] + self.positions.weight[:T])
        causal = torch.ones(T, T, dtype=torch.bool, device=items_BT.device).triu(1)
        states: Tensor = self.blocks(read, mask=causal, is_causal=True)  # padding comes last: nothing before sees it
        return states

    def losses(self, generator: torch.Generator) -> Iterator[Tensor]:
        length = np.diff(self.train_part.indptr)
        able = np.flatnonzero(length > 1)
        device = self.items.weight.device
        for step in torch.randperm(len(able), generator=generator).split(self.options.batch):
            items = torch.as_tensor(self.train_part.padded(able[step.numpy()], self.options.longest + 1)).to(device)
            target = items[:, 1:]
            vectors = self.vectors()
            at = target >= 0
            states = self.states(items[:, :-1], vectors)[at]
            yield cross_entropy(states @ vectors.T, target[at])

    def scorer(self, histories: Histories) -> Scorer:
        self.eval()
        device = self.items.weight.device
        with torch.no_grad():
            vectors = self.vectors()

        @torch.no_grad()
        def score(users: np.ndarray) -> np.ndarray:
            blocks = []
            for at in range(0, len(users), self.options.batch):
                items = torch.as_tensor(histories.padded(users[at : at + self.options.batch], self.options.longest))
                last = (items >= 0).sum(1).clamp(min=1) - 1
                states = self.states(items.to(device), vectors)[torch.arange(len(items)), last.to(device)]
                blocks.append((states @ vectors.T).cpu().numpy())
            return np.concatenate(blocks) if blocks else np.zeros((0, self.n_items), np.float32)

        return score
