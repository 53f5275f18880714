"""LATTICE: a graph of similar items that is learned together with the recommender.

J. Zhang et al., ACM MM 2021, arXiv 2104.09036, equations 1 to 10: nearest neighbours by the cosine of projected
features, mixed with those of the features themselves, summed over modalities by learned weights. Departures: neighbours
are chosen once an epoch, as by the authors, but the weights of the edges follow the projection in every step; negative
cosines count 0; an item that lacks a modality has no edges of it; no decay of the learning rate.

Shape suffixes: U users, I items, D dimensions, M modalities, K neighbours, F columns of a modality's features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from demure.baselines.content import ItemContent, required_content
from demure.baselines.graph import LightGCN, LightGCNOptions, SparseMatrix, nearest_items
from demure.baselines.learned import LocalRows, Task, whole_batch


@dataclass(frozen=True)
class LATTICEOptions(LightGCNOptions):
    """``neighbours`` of an item in each modality's graph, ``item_layers`` of propagation over it; ``kept_graph``: share
    of the features' own graph, the rest is learned."""

    neighbours: int = 10
    item_layers: int = 1
    kept_graph: float = 0.9


class LATTICE(ItemContent, LightGCN):
    """LightGCN whose items also have the unit vector that their embeddings take over the mixed item graph."""

    options: LATTICEOptions

    def __init__(self, task: Task, options: LATTICEOptions | None = None) -> None:
        super().__init__(task, options or LATTICEOptions())
        content = required_content(task, "lattice")
        count = int(self.options.neighbours)
        self.original = {
            name: SparseMatrix(nearest_items(features, count, by_cosine=True)) for name, features in content.items()
        }
        self.add_content(content, self.options.dim)
        self.modal_share = nn.Parameter(torch.zeros(len(content)))
        self.first_batch: Tensor | None = None
        for name in self.names:
            rows = self.has(name).nonzero().squeeze(1)
            self.register_buffer(f"rows_{name}", rows, persistent=False)
            # In the checkpoint: an epoch that goes on after an interruption has the neighbours of its start.
            self.register_buffer(f"nearest_{name}", torch.zeros(len(rows), min(count, len(rows)), dtype=torch.int64))

    def unit_vectors(self, name: str) -> Tensor:
        """Return the unit vectors of the projected features of the items that have the modality (R, D)."""
        return normalize(self.projected(name, getattr(self, f"rows_{name}")), dim=1)

    @torch.no_grad()
    def nearest(self, name: str) -> Tensor:
        """Return the nearest neighbours by the projected features (R, K), as positions among the present items."""
        unit = self.unit_vectors(name)
        k = getattr(self, f"nearest_{name}").shape[1]
        return torch.cat([(block @ unit.T).topk(k, dim=1).indices for block in torch.split(unit, 2048)])

    def refresh(self) -> None:
        """Choose the neighbours by the present projection."""
        for name in self.names:
            getattr(self, f"nearest_{name}").copy_(self.nearest(name))

    def propagate_items(self, items_ID: Tensor) -> Tensor:
        """Propagate over (1 - kept_graph) of the learned and ``kept_graph`` of the features' graph: (I, D)."""
        share_M, edges = self.modal_share.softmax(0), []
        degree_I = torch.zeros(len(items_ID), device=items_ID.device)
        for share, name in zip(share_M, self.names, strict=True):
            rows_R, unit_RD = getattr(self, f"rows_{name}"), self.unit_vectors(name)
            nearest_RK = getattr(self, f"nearest_{name}") if self.training else self.nearest(name)
            weight_RK = share * (unit_RD[:, None] * unit_RD[nearest_RK]).sum(2).clamp(min=0)
            degree_I = degree_I.index_add(0, rows_R, weight_RK.sum(1))
            edges.append((rows_R, rows_R[nearest_RK], weight_RK))
        scale_I1 = degree_I.clamp(min=1e-7)[:, None] ** -0.5
        for _ in range(int(self.options.item_layers)):
            scaled_ID, learned_ID, original_ID = scale_I1 * items_ID, torch.zeros_like(items_ID), 0.0
            for rows_R, ends_RK, weight_RK in edges:
                learned_ID = learned_ID.index_add(0, rows_R, (weight_RK[:, None] @ scaled_ID[ends_RK]).squeeze(1))
            for share, name in zip(share_M, self.names, strict=True):
                original_ID = original_ID + share * (self.original[name].to(items_ID.device) @ items_ID)
            kept = self.options.kept_graph
            items_ID = (1 - kept) * scale_I1 * learned_ID + kept * original_ID
        return items_ID

    def vectors(self) -> tuple[Tensor, Tensor]:
        users, items = self.propagate(self.graph)
        return users, items + normalize(self.propagate_items(self.items.weight), dim=1)

    def batches(self, generator: torch.Generator) -> Sequence[Tensor]:
        batches = super().batches(generator)
        self.first_batch = batches[0]
        return batches

    def step_loss(
        self, batch: Tensor, generator: torch.Generator, local_rows_of: LocalRows = whole_batch
    ) -> Tensor | None:
        if self.first_batch is not None and torch.equal(batch, self.first_batch):
            self.refresh()
        return super().step_loss(batch, generator, local_rows_of)
