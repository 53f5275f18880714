"""The mixture over causes: shares of the causes from counts, and the posterior over the causes of an interaction.

    p(i | u, t) / p_t(i) = sum_r pi^r rho^r + (1 - delta) sum_m pi^m rho^m + delta pi^+ sum_{m<n} pi^mn f^mn rho^m rho^n

with pi^+ = sum_m pi^m, pi^mn the normalised products of pi^m and pi^n, and f^mn the factor that normalises the product
rho^m rho^n (``demure.model.pairs``); equation (1) of docs/method.md.

Shape suffixes: B users, T positions, R rivals of content, M modalities, K = R + M causes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def shares_from_counts(
    counts_K: Tensor, cause_prior_K: Tensor, side_prior_2: Tensor, admitted_K: Tensor, n_rivals: int
) -> Tensor:
    """Return pi (..., K) from the counts of each cause.

    The causes have two sides: the rivals (the first ``n_rivals``) and the content. The Beta prior ``side_prior_2``
    decides between the sides, the Dirichlet priors ``cause_prior_K`` within each, all as pseudo-counts. ``admitted_K``
    is 0 for causes that are not admitted.
    """
    R = n_rivals
    within_K = (counts_K + cause_prior_K) * admitted_K
    counts_K = counts_K * admitted_K
    sides = [
        (counts_K[..., :R], within_K[..., :R], side_prior_2[0]),
        (counts_K[..., R:], within_K[..., R:], side_prior_2[1]),
    ]
    weight = [
        (counts.sum(-1, keepdim=True) + prior) * (part.sum(-1, keepdim=True) > 0) for counts, part, prior in sides
    ]
    parts = [
        part / part.sum(-1, keepdim=True).clamp(min=1e-30) * side_weight
        for (_, part, _), side_weight in zip(sides, weight, strict=True)
    ]
    return torch.cat(parts, -1) / (weight[0] + weight[1])


def cause_posterior(
    ratio_BTM: Tensor,
    rival_ratio_BTR: Tensor,
    cause_share_BTK: Tensor,
    present_BTM: Tensor,
    *,
    two_causes_share: Tensor | float,
    pairs: Sequence[tuple[int, int]],
    factors: Sequence[Tensor] = (),
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the posterior of each modality (B, T, M) and rival (B, T, R), and p(i) / p_t(i) (B, T).

    The posterior of a modality is the probability that it is one of the causes; two modalities can both be near 1.
    ``two_causes_share`` is delta, for the ``pairs`` of modalities. ``factors``: one tensor (B, T) per pair, f^mn, which
    normalises rho^m rho^n; all 1 if empty.
    """
    R = rival_ratio_BTR.shape[-1]
    rival_term_BTR = cause_share_BTK[..., :R] * rival_ratio_BTR
    content_BTM = cause_share_BTK[..., R:]
    modality_term_BTM = (1 - two_causes_share) * content_BTM * ratio_BTM
    total = rival_term_BTR.sum(-1) + modality_term_BTM.sum(-1)
    if pairs:
        first, second = (torch.tensor(column, device=modality_term_BTM.device) for column in zip(*pairs, strict=True))
        share = content_BTM[..., first] * content_BTM[..., second]
        share = share / share.sum(-1, keepdim=True).clamp(min=1e-9) * content_BTM.sum(-1, keepdim=True)
        joint = two_causes_share * share * ratio_BTM[..., first] * ratio_BTM[..., second]
        joint = joint * torch.stack(list(factors), -1) if factors else joint
        total = total + joint.sum(-1)
        modality_term_BTM = modality_term_BTM.index_add(-1, first, joint).index_add(-1, second, joint)
    return modality_term_BTM / total[..., None] * present_BTM, rival_term_BTR / total[..., None], total
