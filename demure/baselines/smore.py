"""SMORE: noise filtered from the features in the frequency domain, where modalities are fused, too.

R. X. Ong and A. W. H. Khong, WSDM 2025, arXiv 2412.14978. A learned complex weight for each frequency of a projected
feature vector is the filter; the product of the modalities' spectra, filtered, is the fused view. Departures: those of
:mod:`demure.baselines.mgcn`, whose gates, graphs and losses SMORE shares; any number of modalities, where the fused
view of an item is the product over the modalities that it has.

Shape suffixes: U users, I items, A = U + I both, D dimensions, S = D // 2 + 1 frequencies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from demure.baselines.graph import SparseMatrix
from demure.baselines.learned import Task
from demure.baselines.mgcn import MGCN, MGCNOptions, gate

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True)
class SMOREOptions(MGCNOptions):
    """``layers`` of propagation over interactions; ``dropout`` of the preferences."""

    layers: int = 3
    dropout: float = 0.0


class SMORE(MGCN):
    """MGCN whose projected features are filtered by frequency, with a further view of all modalities fused."""

    options: SMOREOptions
    model = "smore"

    def __init__(self, task: Task, options: SMOREOptions | None = None) -> None:
        super().__init__(task, options or SMOREOptions())
        dim = self.options.dim
        # One real and one imaginary part for each frequency.
        shape = (dim // 2 + 1, 2)
        self.filters = nn.ParameterDict({name: nn.Parameter(torch.randn(shape)) for name in self.names})
        self.fused_filter = nn.Parameter(torch.randn(shape))
        self.purify_fused, self.prefer_fused = gate(dim), gate(dim)
        del self.query
        self.queries = nn.ModuleDict(
            {
                name: nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, dim, bias=False))
                for name in self.names
            }
        )
        self.drop = nn.Dropout(self.options.dropout)

    def add_item_graphs(self, graphs: dict[str, csr_array]) -> None:
        super().add_item_graphs(graphs)
        self.fused_graph = SparseMatrix(strongest_edges(list(graphs.values())))

    def spectra(self) -> tuple[dict[str, Tensor], Tensor]:
        """Return the filtered features (I, D) of each modality, and those of all modalities fused.

        The fused spectrum is the product over the modalities that an item has.
        """
        dim, filtered = self.options.dim, {}
        product_IS = torch.view_as_complex(self.fused_filter)
        for name in self.names:
            spectrum_IS = torch.fft.rfft(self.projected(name), dim=1, norm="ortho")
            kept_IS = spectrum_IS * torch.view_as_complex(self.filters[name])
            filtered[name] = torch.fft.irfft(kept_IS, n=dim, dim=1, norm="ortho")
            item_I1 = self.has(name)[:, None]
            product_IS = product_IS * torch.where(item_I1, spectrum_IS, 1.0)
        return filtered, torch.fft.irfft(product_IS, n=dim, dim=1, norm="ortho")

    def content_side(self, behaviour_AD: Tensor) -> Tensor:
        """Return the content vectors (A, D): the mean of the views, each weighed by what behaviour prefers.

        The fused view attends to the dimensions of the others, by a softmax over these.
        """
        filtered, fused_ID = self.spectra()
        fused_AD = self.view(self.items.weight * self.purify_fused(fused_ID), self.fused_graph)
        total_AD: Tensor = self.drop(self.prefer_fused(behaviour_AD)) * fused_AD
        for name in self.names:
            view_AD = self.view(self.items.weight * self.purify[name](filtered[name]), self.item_graphs[name], name)
            attended_AD = self.queries[name](fused_AD).softmax(dim=1) * view_AD
            total_AD = total_AD + self.drop(self.prefer[name](behaviour_AD)) * attended_AD
        return total_AD / (len(self.names) + 1)


def strongest_edges(graphs: Sequence[csr_array]) -> csr_array:
    """Return the largest weight of each edge (I, I) over the ``graphs``."""
    total = graphs[0]
    for graph in graphs[1:]:
        total = total.maximum(graph)
    return total.tocsr()
