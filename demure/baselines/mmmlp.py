"""MMMLP: the sequence read by perceptrons alone, in one stream for the items and one for each modality.

J. Liang et al., WWW 2023, doi 10.1145/3543507.3583378. Each stream has feature mixers (over the positions, then over
the dimensions); a fusion mixer then mixes the streams at each position. Departures: the matrices that mix positions
are triangular, so that a position reads itself and the past and one pass trains all of them (as in Y. Jiang et al.,
2023, arXiv 2305.14675; the paper predicts the last item alone, with full matrices); positions count from the start of
what is read; any number of modalities; a stream is zero at an item that lacks its modality. The score is the sum of the
streams' inner products; the loss is that of :mod:`demure.baselines.sasrec`.

Shape suffixes: B users, T positions, S streams (the embedding and each modality), D dimensions, H hidden numbers, N
rows, I items.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, gelu

from demure.baselines.content import ItemContent, required_content
from demure.baselines.learned import Task
from demure.baselines.sasrec import FULL_UP_TO, SASRec, SequenceOptions


@dataclass(frozen=True)
class MMMLPOptions(SequenceOptions):
    """``layers`` of feature mixers."""

    batch: int = 64
    longest: int = 50


class MMMLP(ItemContent, SASRec):
    """Perceptrons over positions, dimensions and streams; vectors are the streams side by side."""

    model = "mmmlp"
    options: MMMLPOptions

    def __init__(self, task: Task, options: MMMLPOptions | None = None) -> None:
        super().__init__(task, options or MMMLPOptions())
        del self.positions  # the mixers number them
        dim = self.options.dim
        initialise = partial(nn.init.normal_, std=0.02)
        self.add_content(required_content(task, self.model), dim, bias=False, initialise=initialise)
        n_streams = len(self.names) + 1
        self.mixers = nn.ModuleList(
            FeatureMixer(n_streams, dim, self.options.longest, self.options.dropout)
            for _ in range(int(self.options.layers))
        )
        self.fusion_norm, self.last_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.fusion = nn.Sequential(nn.Linear(n_streams, 4 * n_streams), nn.GELU(), nn.Linear(4 * n_streams, n_streams))

    def add_encoder(self) -> None:
        """Add nothing: the mixers need the features, and follow."""

    def vectors(self) -> Tensor:
        rows = torch.arange(self.n_items, device=self.items.weight.device)
        return torch.cat([self._side_by_side(self.items.weight[r], r) for r in torch.split(rows, FULL_UP_TO)])

    def vectors_of(self, rows_N: Tensor) -> Tensor:
        return self._side_by_side(embedding(rows_N, self.items.weight, sparse=True), rows_N)

    def _side_by_side(self, own_ND: Tensor, rows_N: Tensor) -> Tensor:
        return torch.cat([own_ND, *(self.projected(name, rows_N) for name in self.names)], dim=1)

    def states(self, items_BT: Tensor, vectors_ID: Tensor, lost_BTD: Tensor | None = None) -> Tensor:
        assert lost_BTD is None  # verdicts weigh sasrec-content alone
        n_streams = len(self.names) + 1
        mixed_BTSD = self.drop(vectors_ID[items_BT.clamp(min=0)]).unflatten(2, (n_streams, self.options.dim))
        for mixer in self.mixers:
            mixed_BTSD = mixer(mixed_BTSD)
        fused = self.fusion(self.fusion_norm(mixed_BTSD).transpose(2, 3)).transpose(2, 3)
        states: Tensor = self.last_norm(mixed_BTSD + self.drop(fused)).flatten(2)
        return states


class FeatureMixer(nn.Module):
    """One layer over positions and one over dimensions, with parameters of each stream."""

    lower_TT: Tensor

    def __init__(self, n_streams: int, dim: int, longest: int, dropout: float) -> None:
        super().__init__()
        self.first_STT = nn.Parameter(torch.randn(n_streams, longest, longest) * 0.02)
        self.second_STT = nn.Parameter(torch.randn(n_streams, longest, longest) * 0.02)
        self.first_SDH = nn.Parameter(torch.randn(n_streams, dim, 4 * dim) * dim**-0.5)
        self.second_SHD = nn.Parameter(torch.randn(n_streams, 4 * dim, dim) * (4 * dim) ** -0.5)
        self.position_norm, self.dimension_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.drop = nn.Dropout(dropout)
        self.register_buffer("lower_TT", torch.ones(longest, longest).tril(), persistent=False)

    def forward(self, mixed_BTSD: Tensor) -> Tensor:
        """Return the mixed streams (B, T, S, D)."""
        T = mixed_BTSD.shape[1]
        first, second = ((m * self.lower_TT)[:, :T, :T] for m in (self.first_STT, self.second_STT))
        hidden = gelu(torch.einsum("sqt,btsd->bqsd", first, self.position_norm(mixed_BTSD)))
        mixed_BTSD = mixed_BTSD + self.drop(torch.einsum("sqt,btsd->bqsd", second, hidden))
        hidden = gelu(torch.einsum("btsd,sdh->btsh", self.dimension_norm(mixed_BTSD), self.first_SDH))
        mixed: Tensor = mixed_BTSD + self.drop(torch.einsum("btsh,shd->btsd", hidden, self.second_SHD))
        return mixed
