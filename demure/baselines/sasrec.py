"""SASRec: predict the next item by self-attention over the items before it (Kang, ICDM 2018, arXiv 1808.09781).

It is trained with cross-entropy over all items at every position, which is better than the paper's single negative
item (A. Klenitskiy and A. Vasilev, RecSys 2023, arXiv 2309.07602). With features, the vector of an item is a linear map
of its embedding and its features side by side.

Above ``FULL_UP_TO`` items the softmax runs over the target and ``candidates`` other items that a step draws for all its
positions, corrected for the probability of each draw (logQ; Y. Bengio and J.-S. Senecal, IEEE Trans. Neural Networks
2008), and the embeddings of all other items do not change.

With weights of the interactions, the features of an item count in a history by the weights of that interaction, and in
full as a candidate. Interactions without weights have the user's mean.

Shape suffixes: B users of a batch, T positions, D dimensions, I items, F numbers of all features, N targets or rows,
M rows of a step, K candidates, V modalities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, embedding

from demure.baselines.learned import DENOISING, Learned, LearnedOptions, LocalRows, Task, whole_batch
from demure.baselines.weights import history_weights
from demure.errors import DemureError
from demure.evaluation.ranking import Scorer

if TYPE_CHECKING:
    from demure.data.histories import Histories


FULL_UP_TO = 20_000
"""Items up to which the softmax runs over all of them: measured in benchmarks/LOG.md."""
_GROUPS = 4  # of similar history length, encoded one after the other


@dataclass(frozen=True)
class SequenceOptions(LearnedOptions):
    """``longest``: the end of a history that is read; ``layers`` of the encoder; ``dropout``.

    ``batch``: users of a step; ``candidates``: items drawn for the softmax of a step above ``FULL_UP_TO`` items.
    """

    learning_rate: float = 2e-3
    batch: int = 16
    every: int = 1
    longest: int = 100
    layers: int = 2
    dropout: float = 0.3
    candidates: int = 4096


@dataclass(frozen=True)
class TransformerOptions(SequenceOptions):
    """``heads`` of attention."""

    heads: int = 2


@dataclass(frozen=True)
class SASRecOptions(TransformerOptions):
    """``content`` above 0: items have features too; ``denoising``: how far the weights of verdicts lie from 1."""

    content: float = 0.0
    denoising: float = DENOISING


class SASRec(Learned):
    """Causal transformer; the score of an item is the inner product of its vector with the last position's output."""

    by_history = True
    model = "sasrec"
    options: SequenceOptions
    content_IF: Tensor
    popularity_I: Tensor

    def __init__(self, task: Task, options: SequenceOptions | None = None) -> None:
        super().__init__()
        self.options = options or SASRecOptions()
        if task.train.times is None:
            raise DemureError(
                "the interactions carry no timestamps, so nothing comes next",
                where=self.model,
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
        self.weights_NV: Tensor | None
        self.register_buffer("weights_NV", None)
        if isinstance(self.options, SASRecOptions) and self.options.content > 0:
            if not task.content:
                raise DemureError("needs features of the items", where="sasrec", remedy="run `demure extract`")
            content = torch.cat([torch.as_tensor(part) for part in task.content.values()], dim=1)
            content = content.half() if self.sampled else content
            self.register_buffer("content_IF", content, persistent=False)
            self.mix = nn.Linear(dim + content.shape[1], dim)
            self.widths = [part.shape[1] for part in task.content.values()]
            weights = task.weights_of(list(task.content))
            if weights is not None:
                self.register_buffer("weights_NV", torch.as_tensor(weights))  # in the file of the run
        if self.sampled:
            count = np.bincount(task.train.items, minlength=task.n_items)
            share = torch.as_tensor(count / max(count.sum(), 1), dtype=torch.float32)
            self.register_buffer("popularity_I", share, persistent=False)
        self.drop = nn.Dropout(self.options.dropout)
        self.add_encoder()

    def add_encoder(self) -> None:
        """Add the layers that read a history."""
        assert isinstance(self.options, TransformerOptions)
        dim = self.options.dim
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

    def lost_content(self, rows_BT: Tensor, weights_BTV: Tensor) -> Tensor:
        """Return the features' part of the vectors of items times one less their weights (B, T, D).

        It is what a history loses of its items' vectors.
        """
        assert self.mix is not None
        matrices = torch.split(self.mix.weight[:, self.options.dim :], self.widths, dim=1)
        features_BTF = self.content_IF[rows_BT.clamp(min=0)].to(self.mix.weight.dtype)
        lost = torch.zeros(())
        for v, (features, matrix) in enumerate(
            zip(torch.split(features_BTF, self.widths, dim=2), matrices, strict=True)
        ):
            lost = lost + (1 - weights_BTV[..., v, None]) * (features @ matrix.T)
        return lost

    def rowwise(self) -> list[nn.Parameter]:
        return [self.items.get_parameter("weight")] if self.sampled else []

    def states(self, items_BT: Tensor, vectors_ID: Tensor, lost_BTD: Tensor | None = None) -> Tensor:
        """Return the outputs (B, T, D) at every position of histories padded with -1 at the end.

        Each position attends to itself and the past. ``lost_BTD`` is subtracted from the vectors of the items.
        """
        T = items_BT.shape[1]
        inputs_BTD = vectors_ID[items_BT.clamp(min=0)] + self.positions.weight[:T]
        inputs_BTD = self.drop(inputs_BTD if lost_BTD is None else inputs_BTD - lost_BTD)
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
        weights_BTV = None
        if self.weights_NV is not None:
            indices = torch.as_tensor(self.train_part.interaction_indices(batch.numpy(), self.options.longest + 1))
            weights_BTV = local_rows_of(self.weights_NV[indices.clamp(min=0).to(device)])
        targets = int((items[:, 1:] >= 0).sum())
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            if self.sampled:
                loss = self._sampled_loss(items, weights_BTV, local_rows_of, generator)
            else:
                local_items = local_rows_of(items)
                valid = local_items[:, 1:] >= 0
                if not valid.any():
                    return None
                vectors, lost_BTD = self.vectors(), None
                if weights_BTV is not None:
                    lost_BTD = self.lost_content(local_items[:, :-1], weights_BTV[:, :-1])
                states = self.states(local_items[:, :-1], vectors, lost_BTD)[valid]
                logits = states @ vectors.T
                loss = self.mean_loss(cross_entropy(logits, local_items[:, 1:][valid], reduction="none"))
        share = int((local_rows_of(items)[:, 1:] >= 0).sum()) / targets
        return None if loss is None else loss * share

    def _sampled_loss(
        self, items_BT: Tensor, weights_BTV: Tensor | None, local_rows_of: LocalRows, generator: torch.Generator
    ) -> Tensor | None:
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
            last = max(int(length[part].max()), 1)
            group = local_rows[part, : last + 1]
            valid = group[:, 1:] >= 0
            lost_BTD = None
            if weights_BTV is not None:
                lost_BTD = self.lost_content(rows[group[:, :-1].clamp(min=0)], weights_BTV[part, :last])
            states.append(self.states(group[:, :-1], vectors, lost_BTD)[valid])
            targets.append(group[:, 1:][valid])
        drawn_rows = row_of[len(histories) :]
        return self.mean_loss(
            sampled_cross_entropies(torch.cat(states), vectors, torch.cat(targets), drawn_rows, log_drawn)
        )

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
        weights_HV = self._weights_in(histories)

        @torch.no_grad()
        def score(users: np.ndarray) -> Tensor:
            blocks = []
            for start in range(0, len(users), self.options.batch):
                batch = users[start : start + self.options.batch]
                items = torch.as_tensor(histories.padded(batch, self.options.longest))
                last = (items >= 0).sum(1).clamp(min=1) - 1
                lost_BTD = None
                if weights_HV is not None:
                    indices = np.maximum(histories.interaction_indices(batch, self.options.longest), 0)
                    lost_BTD = self.lost_content(items.to(device), weights_HV[torch.as_tensor(indices)].to(device))
                states = self.states(items.to(device), vectors, lost_BTD)[torch.arange(len(items)), last.to(device)]
                blocks.append(states @ vectors.T)
            return torch.cat(blocks) if blocks else vectors.new_zeros(0, self.n_items)

        return score

    def _weights_in(self, histories: Histories) -> Tensor | None:
        """Return the weights of the interactions of ``histories`` (H, V), and a row for none at all."""
        if self.weights_NV is None:
            return None
        has_IV = (
            torch.stack([part.any(1) for part in torch.split(self.content_IF, self.widths, dim=1)], 1).cpu().numpy()
        )
        weights_NV, train = self.weights_NV.cpu().numpy(), self.train_part
        weights_HV = history_weights(histories, train, weights_NV, has_IV[train.items], self.n_items)
        return torch.as_tensor(np.concatenate([weights_HV, np.ones_like(weights_NV[:1])]))


def sampled_cross_entropies(
    states_ND: Tensor, vectors_MD: Tensor, target_N: Tensor, drawn_K: Tensor, log_drawn_K: Tensor
) -> Tensor:
    """Return -log softmax of each target (N,), over the target and the drawn items.

    ``target_N`` and ``drawn_K`` are rows of ``vectors_MD``; ``log_drawn_K`` is the log of the expected number of draws
    of each. A draw of the target itself is left out: then the sum over the draws, each divided by its expected number,
    is on average the sum over all other items.
    """
    target_N1 = (states_ND * vectors_MD[target_N]).sum(1, keepdim=True)
    others_NK = states_ND @ vectors_MD[drawn_K].T - log_drawn_K
    others_NK = others_NK.masked_fill(target_N[:, None] == drawn_K, -torch.inf)
    return cross_entropy(torch.cat([target_N1, others_NK], 1), torch.zeros_like(target_N), reduction="none")
