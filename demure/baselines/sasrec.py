"""SASRec: predict the next item by self-attention over the items before it (Kang, ICDM 2018, arXiv 1808.09781).

It is trained with cross-entropy over all items at every position, which is better than the paper's single negative
item (A. Klenitskiy and A. Vasilev, RecSys 2023, arXiv 2309.07602). With features, the vector of an item is a linear map
of its embedding and its features side by side.

Above ``FULL_UP_TO`` items the softmax runs over the target and ``candidates`` other items that a step draws for all its
positions, corrected for the probability of each draw (logQ; Y. Bengio and J.-S. Senecal, IEEE Trans. Neural Networks
2008), and the embeddings of all other items do not change.

Shape suffixes: B users of a batch, T positions, D dimensions, I items, F numbers of all features, N targets or rows,
M rows of a step, K candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, embedding

from demure.baselines.learned import Learned, LearnedOptions, LocalRows, Task, whole_batch
from demure.errors import DemureError
from demure.evaluation.ranking import Scorer

if TYPE_CHECKING:
    from demure.data.histories import Histories


FULL_UP_TO = 20_000
"""Items up to which the softmax runs over all of them: measured in benchmarks/LOG.md."""
_GROUPS = 4  # of similar history length, encoded one after the other


@dataclass(frozen=True)
class SASRecOptions(LearnedOptions):
    """``longest``: the end of a history that is read; ``layers`` of attention with ``heads`` heads; ``dropout``.

    ``content`` above 0: items have features too; ``batch``: users of a step; ``candidates``: items drawn for the
    softmax of a step above ``FULL_UP_TO`` items.
    """

    learning_rate: float = 2e-3
    batch: int = 16
    every: int = 1
    longest: int = 100
    layers: int = 2
    heads: int = 2
    dropout: float = 0.3
    content: float = 0.0
    candidates: int = 4096


class SASRec(Learned):
    """Causal transformer; the score of an item is the inner product of its vector with the last position's output."""

    by_history = True
    options: SASRecOptions
    content_IF: Tensor
    popularity_I: Tensor

    def __init__(self, task: Task, options: SASRecOptions | None = None) -> None:
        super().__init__()
        self.options = options or SASRecOptions()
        if task.train.times is None:
            raise DemureError(
                "the interactions carry no timestamps, so nothing comes next",
                where="sasrec",
                remedy="use a recipe that is blind to order, or prepare the dataset with a timestamp column",
            )
        dim = self.options.dim
        self.train_part, self.n_items = task.train, task.n_items
        self.sampled = task.n_items > FULL_UP_TO
        self.items = nn.Embedding(task.n_items, dim)
        self.positions = nn.Embedding(self.options.longest, dim)
        for table in (self.items, self.positions):
            nn.init.normal_(table.weight, std=0.02)
        self.mix: nn.Linear | None = None
        if self.options.content > 0:
            if not task.content:
                raise DemureError("needs features of the items", where="sasrec", remedy="run `demure extract`")
            content = torch.cat([torch.as_tensor(part) for part in task.content.values()], dim=1)
            content = content.half() if self.sampled else content
            self.register_buffer("content_IF", content, persistent=False)
            self.mix = nn.Linear(dim + content.shape[1], dim)
        if self.sampled:
            count = np.bincount(task.train.items, minlength=task.n_items)
            share = torch.as_tensor(count / max(count.sum(), 1), dtype=torch.float32)
            self.register_buffer("popularity_I", share, persistent=False)
        self.drop = nn.Dropout(self.options.dropout)
        block = nn.TransformerEncoderLayer(
            dim, self.options.heads, dim * 4, self.options.dropout, "gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, self.options.layers, nn.LayerNorm(dim), enable_nested_tensor=False)

    def vectors(self) -> Tensor:
        """Return the vectors of all items (I, D)."""
        if self.mix is None:
            return self.items.weight
        parts = zip(torch.split(self.items.weight, FULL_UP_TO), torch.split(self.content_IF, FULL_UP_TO), strict=True)
        return torch.cat([self._mixed(own, content) for own, content in parts])

    def vectors_of(self, rows_N: Tensor) -> Tensor:
        """Return the vectors of some items (N, D); the gradient touches only their rows."""
        own = embedding(rows_N, self.items.weight, sparse=True)
        return own if self.mix is None else self._mixed(own, self.content_IF[rows_N])

    def _mixed(self, own_ND: Tensor, content_NF: Tensor) -> Tensor:
        assert self.mix is not None
        mixed: Tensor = self.mix(torch.cat([own_ND, content_NF.to(own_ND.dtype)], dim=1))
        return mixed

    def rowwise(self) -> list[nn.Parameter]:
        return [self.items.get_parameter("weight")] if self.sampled else []

    def states(self, items_BT: Tensor, vectors_ID: Tensor) -> Tensor:
        """Return the outputs (B, T, D) at every position of histories padded with -1 at the end.

        Each position attends to itself and the past.
        """
        T = items_BT.shape[1]
        inputs_BTD = self.drop(vectors_ID[items_BT.clamp(min=0)] + self.positions.weight[:T])
        causal = torch.ones(T, T, dtype=torch.bool, device=items_BT.device).triu(1)
        states: Tensor = self.blocks(inputs_BTD, mask=causal, is_causal=True)  # padding is last: no item attends to it
        return states

    def batches(self, generator: torch.Generator) -> Sequence[Tensor]:
        trainable = torch.as_tensor(np.flatnonzero(self.train_part.lengths > 1))
        steps = torch.split(torch.randperm(len(trainable), generator=generator), self.options.batch)
        return [trainable[step] for step in steps]

    def step_loss(
        self, batch: Tensor, generator: torch.Generator, local_rows_of: LocalRows = whole_batch
    ) -> Tensor | None:
        device = self.items.weight.device
        items = torch.as_tensor(self.train_part.padded(batch.numpy(), self.options.longest + 1)).to(device)
        targets = int((items[:, 1:] >= 0).sum())
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            if self.sampled:
                loss = self._sampled_loss(items, local_rows_of, generator)
            else:
                local_items = local_rows_of(items)
                valid = local_items[:, 1:] >= 0
                if not valid.any():
                    return None
                vectors = self.vectors()
                states = self.states(local_items[:, :-1], vectors)[valid]
                loss = cross_entropy(states @ vectors.T, local_items[:, 1:][valid])
        share = int((local_rows_of(items)[:, 1:] >= 0).sum()) / targets
        return None if loss is None else loss * share

    def _sampled_loss(self, items_BT: Tensor, local_rows_of: LocalRows, generator: torch.Generator) -> Tensor | None:
        drawn, log_drawn = self.draw(generator)
        histories = items_BT[items_BT >= 0]
        rows, row_of = torch.unique(torch.cat([histories, drawn]), return_inverse=True)
        numbered = items_BT.masked_scatter(items_BT >= 0, row_of[: len(histories)])
        local_rows = local_rows_of(numbered)
        length = (local_rows[:, 1:] >= 0).sum(1)
        if not length.any():
            return None
        vectors = self.vectors_of(rows)
        states, targets = [], []
        for part in length.argsort(stable=True).chunk(_GROUPS):  # fewer cells of padding than in one batch
            group = local_rows[part, : max(int(length[part].max()), 1) + 1]
            valid = group[:, 1:] >= 0
            states.append(self.states(group[:, :-1], vectors)[valid])
            targets.append(group[:, 1:][valid])
        drawn_rows = row_of[len(histories) :]
        return sampled_cross_entropy(torch.cat(states), vectors, torch.cat(targets), drawn_rows, log_drawn)

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw the items (K,) of a softmax with replacement; return them and the log of K times each's probability.

        Half are drawn by popularity, half evenly.
        """
        count = self.options.candidates
        interactions = torch.randint(len(self.train_part.items), (count,), generator=generator).numpy()
        evenly = torch.randint(self.n_items, (count,), generator=generator)
        by_popularity = torch.rand(count, generator=generator) < 0.5
        drawn = torch.where(by_popularity, torch.as_tensor(self.train_part.items[interactions]), evenly)
        drawn = drawn.to(self.items.weight.device)
        share = 0.5 * self.popularity_I[drawn] + 0.5 / self.n_items
        return drawn, (count * share).log()

    def scorer(self, histories: Histories) -> Scorer:
        self.eval()
        device = self.items.weight.device
        with torch.no_grad():
            vectors = self.vectors()

        @torch.no_grad()
        def score(users: np.ndarray) -> Tensor:
            blocks = []
            for start in range(0, len(users), self.options.batch):
                batch = users[start : start + self.options.batch]
                items = torch.as_tensor(histories.padded(batch, self.options.longest))
                last = (items >= 0).sum(1).clamp(min=1) - 1
                states = self.states(items.to(device), vectors)[torch.arange(len(items)), last.to(device)]
                blocks.append(states @ vectors.T)
            return torch.cat(blocks) if blocks else vectors.new_zeros(0, self.n_items)

        return score


def sampled_cross_entropy(
    states_ND: Tensor, vectors_MD: Tensor, target_N: Tensor, drawn_K: Tensor, log_drawn_K: Tensor
) -> Tensor:
    """Return the mean of -log softmax of each target, over the target and the drawn items.

    ``target_N`` and ``drawn_K`` are rows of ``vectors_MD``; ``log_drawn_K`` is the log of the expected number of draws
    of each. A draw of the target itself is left out: then the sum over the draws, each divided by its expected number,
    is on average the sum over all other items.
    """
    target_N1 = (states_ND * vectors_MD[target_N]).sum(1, keepdim=True)
    others_NK = states_ND @ vectors_MD[drawn_K].T - log_drawn_K
    others_NK = others_NK.masked_fill(target_N[:, None] == drawn_K, -torch.inf)
    return cross_entropy(torch.cat([target_N1, others_NK], 1), torch.zeros_like(target_N))
