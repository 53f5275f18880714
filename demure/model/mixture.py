"""The mixture over causes: shares of the causes from counts, and the posterior over the causes of an interaction.

    p(i | u, t) / p_t(i) = sum_r pi^r rho^r + (1 - delta) sum_m pi^m rho^m + delta pi^+ sum_{m<n} pi^mn f^mn rho^m rho^n

with pi^+ = sum_m pi^m, pi^mn the normalised products of pi^m and pi^n, and f^mn the factor that normalises the product
rho^m rho^n (``demure.model.pairs``); equation (1) of docs/method.md.

Shape suffixes: B users, T positions, R rivals of content, M modalities, K = R + M causes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CausePriors:
    """Priors of the shares of the causes, as pseudo-counts.

    The causes have two sides: the rivals and the content. The Beta prior ``side_prior_2`` decides between the sides,
    the Dirichlet priors ``cause_prior_K`` within each. ``side_K2``: 1 where a cause belongs to a side. ``admitted_K``,
    ``admitted_2``: 0 for causes that are not admitted, and for a side without an admitted cause.
    """

    cause_prior_K: Tensor
    side_prior_2: Tensor
    side_K2: Tensor
    admitted_K: Tensor
    admitted_2: Tensor

    @classmethod
    def build(cls, cause_prior_K: Tensor, side_prior_2: Tensor, admitted_K: Tensor, n_rivals: int) -> CausePriors:
        """Return the priors; the first ``n_rivals`` causes are the rivals."""
        is_rival_K = torch.arange(len(cause_prior_K), device=cause_prior_K.device) < n_rivals
        side_K2 = torch.stack([is_rival_K, ~is_rival_K], 1).to(cause_prior_K.dtype)
        admitted_2 = (admitted_K @ side_K2 > 0).to(cause_prior_K.dtype)
        return cls(cause_prior_K * admitted_K, side_prior_2 * admitted_2, side_K2, admitted_K, admitted_2)

    def shares(self, counts_K: Tensor) -> Tensor:
        """Return pi (..., K) from the counts of each cause (..., K)."""
        counts_K = counts_K * self.admitted_K
        within_K = counts_K + self.cause_prior_K
        weight_2 = counts_K @ self.side_K2 * self.admitted_2 + self.side_prior_2
        share_2 = weight_2 / weight_2.sum(-1, keepdim=True)
        # First the shares within a side, which sum to 1: a prior that only scales all of them has no gradient then.
        total_K = (within_K @ self.side_K2).clamp(min=1e-30) @ self.side_K2.T
        return within_K / total_K * (share_2 @ self.side_K2.T)


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

    The posterior of a modality is the probability that it is one of the causes; two modalities can both be near 1. The
    other arguments are those of :func:`cause_terms`.
    """
    modality_term_BTM, rival_term_BTR, total = cause_terms(
        ratio_BTM,
        rival_ratio_BTR,
        cause_share_BTK,
        two_causes_share=two_causes_share,
        pairs=pairs,
        factors=factors,
    )
    return modality_term_BTM / total[..., None] * present_BTM, rival_term_BTR / total[..., None], total


def cause_terms(
    ratio_BTM: Tensor,
    rival_ratio_BTR: Tensor,
    cause_share_BTK: Tensor,
    *,
    two_causes_share: Tensor | float,
    pairs: Sequence[tuple[int, int]],
    factors: Sequence[Tensor] = (),
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the terms of the mixture that each modality (B, T, M) and rival (B, T, R) is in, and their sum (B, T).

    Terms of two modalities are in both, and count once in the sum. ``two_causes_share`` is delta, for the ``pairs`` of
    modalities. ``factors``: one tensor (B, T) per pair, f^mn, which normalises rho^m rho^n; all 1 if empty.
    """
    R = rival_ratio_BTR.shape[-1]
    rival_term_BTR = cause_share_BTK[..., :R] * rival_ratio_BTR
    content_BTM = cause_share_BTK[..., R:]
    modality_term_BTM = content_BTM * ratio_BTM
    if not pairs:
        return modality_term_BTM, rival_term_BTR, rival_term_BTR.sum(-1) + modality_term_BTM.sum(-1)
    shares = [content_BTM[..., m] * content_BTM[..., n] for m, n in pairs]
    joints = [modality_term_BTM[..., m] * modality_term_BTM[..., n] for m, n in pairs]
    joints = [joint * factor for joint, factor in zip(joints, factors, strict=True)] if factors else joints
    weight_BT = two_causes_share * content_BTM.sum(-1) / _add(shares).clamp(min=1e-9)
    joints = [joint * weight_BT for joint in joints]
    of_modality = [[q for q, pair in enumerate(pairs) if m in pair] for m in range(content_BTM.shape[-1])]
    joint_BTM = torch.stack([_add([joints[q] for q in numbers]) for numbers in of_modality], -1)
    modality_term_BTM = modality_term_BTM * (1 - two_causes_share)
    total = rival_term_BTR.sum(-1) + modality_term_BTM.sum(-1) + joint_BTM.sum(-1) / 2  # each pair is in two columns
    return modality_term_BTM + joint_BTM, rival_term_BTR, total


def _add(tensors: Sequence[Tensor]) -> Tensor:
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total
