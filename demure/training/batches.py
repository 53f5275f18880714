"""Histories as padded batches.

Shape suffixes: B users of a batch, T positions, N training interactions, C clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from demure.data.histories import Histories
    from demure.model.denoiser import Denoiser
    from demure.model.modality import CatalogueView

_GROUP_COST = 60_000  # of one more group of a batch, in cells: measured in benchmarks/LOG.md


def draw_pieces(histories: Histories, users: np.ndarray, longest: int, generator: torch.Generator) -> np.ndarray:
    """Return a random contiguous piece of each history, at most ``longest`` long.

    Indices of interactions (B, T), -1 for padding, as ``Histories.interaction_indices`` returns them.
    """
    start, stop = histories.indptr[users], histories.indptr[users + 1]
    lengths = np.minimum(stop - start, longest)
    room = torch.rand(len(users), generator=generator, dtype=torch.float64).numpy() * (stop - start - lengths + 1)
    first = start + room.astype(np.int64)
    column = np.arange(max(int(lengths.max(initial=0)), 1))
    return np.where(column < lengths[:, None], first[:, None] + column, -1)


def draw_observed(interactions_BT: np.ndarray, masked_share: float, generator: torch.Generator) -> Tensor:
    """Draw which positions (B, T) stay observed, bool: about ``masked_share`` of each history does not, at least one.

    ``interactions_BT``: items, or indices of interactions, -1 for padding, which counts as observed.
    """
    valid_BT = torch.as_tensor(interactions_BT >= 0)
    order_BT = torch.rand(valid_BT.shape, generator=generator).masked_fill(~valid_BT, 2.0)
    masked_BT = (order_BT < masked_share) | (order_BT == order_BT.min(dim=1, keepdim=True).values)
    return ~masked_BT


def group_similar_lengths(items_BT: np.ndarray, group_cost: int = _GROUP_COST) -> list[np.ndarray]:
    """Split the rows of a padded batch into a few groups of similar length, to compute fewer cells of padding.

    A split is made where it saves more cells (users of a group x longest x longest) than ``group_cost``, the cost of
    one more group.
    """
    lengths = np.maximum((items_BT >= 0).sum(1), 1)
    order = np.argsort(lengths, kind="stable")
    cells = lengths[order].astype(np.int64) ** 2

    def split(first: int, stop: int) -> list[np.ndarray]:
        size = np.arange(1, stop - first)
        saved = size * (cells[stop - 1] - cells[first : stop - 1])
        best = int(saved.argmax()) if len(saved) else 0
        if not len(saved) or saved[best] <= group_cost:
            return [order[first:stop]]
        return split(first, first + best + 1) + split(first + best + 1, stop)

    return split(0, len(order)) if len(order) else []


def views_of_step(
    denoiser: Denoiser, items_BT: np.ndarray, generator: torch.Generator
) -> tuple[list[CatalogueView], np.ndarray]:
    """Return views with sampled candidates for a training step, and ``items_BT`` (B, T) as the views number them.

    For a large catalogue the views hold the items of the batch and the candidates alone.
    """
    if not denoiser.has_large_catalogue:
        return denoiser.views(generator), items_BT
    drawn = [sampler.draw(generator) for sampler in denoiser.samplers(denoiser.settings.candidates)]
    batch_items = torch.as_tensor(items_BT[items_BT >= 0]).to(denoiser.popularity_I.device)
    all_items = torch.cat([batch_items, *(items.items_N for items in drawn)])
    rows, index = all_items.unique(return_inverse=True)  # type: ignore[no-untyped-call]
    numbered = items_BT.copy()
    numbered[items_BT >= 0] = index[: len(batch_items)].cpu().numpy()
    popularity = (denoiser.popularity_I, denoiser.popularity_factor_IP)
    experts = zip(denoiser.experts(), drawn, strict=True)
    return [expert.view_of_subset(rows, items, *popularity) for expert, items in experts], numbered


def append_targets(items_BT: np.ndarray, targets_B: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each padded history with one more item at its end, (B, T + 1), and a bool mask, False at that item."""
    length_B = (items_BT >= 0).sum(1)
    longer = np.concatenate([items_BT, np.full((len(items_BT), 1), -1)], axis=1)
    rows = np.arange(len(longer))
    longer[rows, length_B] = targets_B
    observed = np.ones(longer.shape, bool)
    observed[rows, length_B] = False
    return longer, observed
