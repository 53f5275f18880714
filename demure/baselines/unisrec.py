"""UniSRec: whitened features, mapped by a mixture of experts, as the items of a transformer.

Y. Hou et al., KDD 2022, arXiv 2206.05941, equations 1 to 5, and the fine-tuning with item embeddings (equation 10).
Departures: no pre-training on other domains, and so no contrast between sequences; the whitening starts in closed form,
from the covariance, as in J. Su et al., 2021, arXiv 2103.15316, and the experts' biases learn the rest; any number of
modalities, each with its own experts, which add up; an item without features has its embedding alone. The transformer
and its loss are those of :mod:`demure.baselines.sasrec`.

Shape suffixes: N rows, I items, W whitened dimensions, F columns of a modality's features, D dimensions, G experts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, softplus

from demure.baselines.content import items_with, required_content
from demure.baselines.learned import Task
from demure.baselines.sasrec import FULL_UP_TO, SASRec, TransformerOptions

_LEAST_SPREAD = 1e-4
"""Directions with less than this share of the largest standard deviation are rounding."""


@dataclass(frozen=True)
class UniSRecOptions(TransformerOptions):
    """``experts`` that map features; at most ``whitened`` dimensions of each modality."""

    batch: int = 64
    experts: int = 8
    whitened: int = 128


class UniSRec(SASRec):
    """SASRec whose items are an embedding plus the mapped features."""

    model = "unisrec"
    options: UniSRecOptions

    def __init__(self, task: Task, options: UniSRecOptions | None = None) -> None:
        super().__init__(task, options or UniSRecOptions())
        content = required_content(task, self.model)
        self.adaptors = nn.ModuleDict()
        for name, features in content.items():
            rows = torch.as_tensor(whiten(features, int(self.options.whitened)))
            self.register_buffer(f"white_{name}", rows, persistent=False)
            self.register_buffer(f"present_{name}", torch.as_tensor(items_with(features)), persistent=False)
            self.adaptors[name] = ExpertMixture(rows.shape[1], self.options.dim, int(self.options.experts))

    def vectors(self) -> Tensor:
        rows = torch.arange(self.n_items, device=self.items.weight.device)
        blocks = [self.items.weight[block] + self.content_of(block) for block in torch.split(rows, FULL_UP_TO)]
        return torch.cat(blocks)

    def vectors_of(self, rows_N: Tensor) -> Tensor:
        return embedding(rows_N, self.items.weight, sparse=True) + self.content_of(rows_N)

    def content_of(self, rows_N: Tensor) -> Tensor:
        """Return the mapped features of some items (N, D), the sum over the modalities that they have."""
        total = self.positions.weight.new_zeros(len(rows_N), self.options.dim)
        for name, adaptor in self.adaptors.items():
            mapped_ND = adaptor(getattr(self, f"white_{name}")[rows_N])
            total = total + mapped_ND * getattr(self, f"present_{name}")[rows_N, None]
        return total


class ExpertMixture(nn.Module):
    """Mixture of whitening experts, the sum over g of share_g (x - b_g) W_g (equations 1 to 3).

    While learning, the logits of the shares get normal noise of a learned size.
    """

    def __init__(self, columns: int, dim: int, experts: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(experts, columns, dim))
        self.bias = nn.Parameter(torch.zeros(experts, columns))
        self.gate = nn.Parameter(torch.zeros(columns, experts))
        self.noise = nn.Parameter(torch.zeros(columns, experts))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, rows_NW: Tensor) -> Tensor:
        """Return the mapped rows (N, D)."""
        logits_NG = rows_NW @ self.gate
        if self.training:
            logits_NG = logits_NG + torch.randn_like(logits_NG) * softplus(rows_NW @ self.noise)
        share_NG = logits_NG.softmax(dim=1)
        # (x - b) W = x W - b W, and x W of all experts is one product.
        experts, columns, dim = self.weight.shape
        mapped_NGD = (rows_NW @ self.weight.transpose(0, 1).reshape(columns, -1)).view(-1, experts, dim)
        shift_GD = (self.bias[:, None] @ self.weight).squeeze(1)
        mixed_ND: Tensor = (share_NG[:, :, None] * (mapped_NGD - shift_GD)).sum(1)
        return mixed_ND


def whiten(features_IF: np.ndarray, most: int) -> np.ndarray:
    """Return the ``most`` strongest principal directions of the rows that are not zero, each of variance 1, (I, W).

    Their covariance is the identity; rows that are zero stay so.
    """
    present = items_with(features_IF)
    rows = features_IF[present].astype(np.float64)
    rows -= rows.mean(axis=0) if len(rows) else 0.0
    variance, axes = np.linalg.eigh(rows.T @ rows / max(len(rows) - 1, 1))
    strongest = np.argsort(-variance)[: min(most, len(variance))]
    strongest = strongest[variance[strongest] > _LEAST_SPREAD**2 * max(variance.max(), 0.0)]
    white = np.zeros((len(features_IF), len(strongest)), np.float32)
    white[present] = rows @ (axes[:, strongest] / np.sqrt(variance[strongest]))
    return white
