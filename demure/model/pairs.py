"""Two modalities that cause an interaction together: the factor that makes the product of their ratios a density.

The modalities of an item are not independent, so rho^m rho^n alone is not a density ratio. It becomes one with the
factor P(c) P(d) / P(c, d), the inverse lift of cluster c of the one modality and cluster d of the other, averaged over
the clusters by which the item is chosen. The kernel experts have no clusters: the factor applies to the cluster
experts' share of both densities, and is 1 where an item lacks one of the modalities.

Shape suffixes: B users, T positions, I items, C and D clusters of the two modalities, X = C D, M modalities.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from demure.model.batch import is_exporting
from demure.model.modality import CatalogueView, ModalityExpert

Pair = tuple[int, int]
_ITEMS_AT_ONCE = 512
_CHANCE = 0.05  # share of the co-occurrences that are as if by chance: it bounds the factor where popular items are few


def compute_inverse_lifts(pairs: Sequence[Pair], views: Sequence[CatalogueView]) -> list[Tensor]:
    """Return P(c) P(d) / P(c, d) (C, D) for each pair of modalities, over the items that have both."""
    inverse_lifts = []
    for a, b in pairs:
        both_I = views[a].weight_I * views[b].present_I
        joint_CD = (views[a].q_IC * both_I[:, None]).T @ views[b].q_IC / both_I.sum().clamp(min=1e-9)
        chance_CD = joint_CD.sum(1, keepdim=True) * joint_CD.sum(0)
        inverse_lifts.append(chance_CD / ((1 - _CHANCE) * joint_CD + _CHANCE * chance_CD).clamp(min=1e-12))
    return inverse_lifts


def pair_extents(pairs: Sequence[Pair], experts: Sequence[ModalityExpert], presents: Sequence[Tensor]) -> list[Tensor]:
    """Return for each pair to what extent both densities come from clusters, in the shape of ``presents``.

    ``presents``: 1 where the item has the modality, for each modality.
    """
    return [
        torch.sigmoid(-experts[a].gate) * torch.sigmoid(-experts[b].gate) * presents[a] * presents[b] for a, b in pairs
    ]


def pair_factors(
    pairs: Sequence[Pair], inverse_lifts: Sequence[Tensor], extents: Sequence[Tensor], posteriors: Sequence[Tensor]
) -> list[Tensor]:
    """Return the factor (B, T) of each pair. ``posteriors`` over the clusters (B, T, C) for each modality."""
    return [
        _gated(((posteriors[a] @ inverse_lift_CD) * posteriors[b]).sum(-1), extent)
        for (a, b), inverse_lift_CD, extent in zip(pairs, inverse_lifts, extents, strict=False)
    ]


def catalogue_factors(
    pairs: Sequence[Pair],
    inverse_lifts: Sequence[Tensor],
    experts: Sequence[ModalityExpert],
    densities: Sequence[Tensor],
    views: Sequence[CatalogueView],
) -> list[Tensor]:
    """Return the factor (B, I) of each pair for every item.

    ``densities``: theta_c / qbar_c (B, C) of the history for each modality.
    """
    factors = []
    extents = pair_extents(pairs, experts, [view.present_I for view in views])
    for (a, b), inverse_lift_CD, extent_I in zip(pairs, inverse_lifts, extents, strict=False):
        q_CI, q_DI = views[a].q_IC.T, views[b].q_IC.T
        chance_BI = (densities[a] @ q_CI) * (densities[b] @ q_DI)
        lifted_BX = (densities[a][:, :, None] * inverse_lift_CD * densities[b][:, None, :]).flatten(1)
        # The products of memberships of some items at a time, so that they stay in the cache.
        size = q_CI.shape[1] if is_exporting() else _ITEMS_AT_ONCE
        of_items = zip(torch.split(q_CI, size, 1), torch.split(q_DI, size, 1), strict=True)
        parts = [lifted_BX @ (own_CI[:, None] * other_DI).flatten(0, 1) for own_CI, other_DI in of_items]
        factors.append(_gated(torch.cat(parts, 1) / chance_BI.clamp(min=1e-9), extent_I))
    return factors


def _gated(factor: Tensor, extent: Tensor) -> Tensor:
    """Return ``factor`` to the ``extent`` (0 to 1) that both densities come from clusters."""
    return 1 + extent * (factor - 1)
