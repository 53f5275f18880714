"""Visual BPR: matrix factorisation in which half of an item's vector is a linear map of its features.

Shape suffixes: U users, I items, B triples of a batch, M modalities, F feature dimensions of all modalities side by
side, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from demure.baselines.content import required_content
from demure.baselines.learned import DENOISING, Task
from demure.baselines.modal import ByModality, Parts
from demure.baselines.pairwise import PairwiseOptions


@dataclass(frozen=True)
class VBPROptions(PairwiseOptions):
    """``attention`` above 0: each modality counts by a softmax over vectors of user and item; ``denoising``: how far
    the weights of verdicts lie from 1."""

    attention: float = 0.0
    denoising: float = DENOISING


class VBPR(ByModality):
    """Half of each vector is free, the other half of an item's is a linear map of its features.

    R. He and J. McAuley, AAAI 2016, arXiv 1510.01784, equation 4 with the items' biases, all modalities' features side
    by side, and without the features' own bias.
    """

    options: VBPROptions
    model = "vbpr"
    content_IF: Tensor

    def __init__(self, task: Task, options: VBPROptions | None = None) -> None:
        super().__init__(task, options or VBPROptions())
        features = list(required_content(task, self.model).values())
        self.widths = [matrix.shape[1] for matrix in features]
        self.register_buffer("content_IF", torch.as_tensor(np.concatenate(features, axis=1)), persistent=False)
        # The user's factors of the content, under their name in model.safetensors.
        self.tastes = nn.Embedding(task.n_users, self.options.dim)
        self.project = nn.Linear(sum(self.widths), self.options.dim, bias=False)
        self.bias = nn.Embedding(task.n_items, 1)
        nn.init.xavier_uniform_(self.tastes.weight)
        nn.init.xavier_uniform_(self.project.weight)
        nn.init.zeros_(self.bias.weight)
        self.add_attention(self.options.attention > 0)

    def vectors(self) -> tuple[Tensor, Tensor]:
        if not self.plain:
            return super().vectors()
        users, items = self._free_vectors()
        return torch.cat([users, self.tastes.weight], 1), torch.cat([items, self.project(self.content_IF)], 1)

    def parts(self) -> Parts:
        features = torch.split(self.content_IF, self.widths, dim=1)
        matrices = torch.split(self.project.weight, self.widths, dim=1)
        content_MID = torch.stack([part @ matrix.T for part, matrix in zip(features, matrices, strict=True)])
        return Parts(*self._free_vectors(), self.tastes.weight, content_MID)

    def _free_vectors(self) -> tuple[Tensor, Tensor]:
        """Return the vectors without content (U, D + 1) and (I, D + 1), with the items' biases."""
        ones = torch.ones_like(self.users.weight[:, :1])
        return torch.cat([self.users.weight, ones], 1), torch.cat([self.items.weight, self.bias.weight], 1)

    def penalty(self, user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        projected = (self.project(self.content_IF[positive]), self.project(self.content_IF[negative]))
        return super().penalty(user, positive, negative) + self._content_penalty(user, projected)

    def weighted_loss(self, parts: Parts, triples: tuple[Tensor, Tensor, Tensor], weights_BM: Tensor | None) -> Tensor:
        user, positive, negative = triples
        if weights_BM is None:
            weights_BM = torch.ones(len(user), len(self.names), device=user.device)
        projected = (torch.einsum("bm,mbd->bd", weights_BM, parts.content[:, item]) for item in (positive, negative))
        penalty = super().penalty(user, positive, negative) + self._content_penalty(user, tuple(projected))
        return super().weighted_loss(parts, triples, weights_BM) + penalty

    def _content_penalty(self, user: Tensor, projected: tuple[Tensor, ...]) -> Tensor:
        """Return the regularisation of the users' tastes and of the items' content (B, D) as it enters the score."""
        lengths = (part.square().sum(1).mean() / 2 for part in (self.tastes(user), *projected))
        return self.options.regularisation * sum(lengths, torch.zeros(()))
