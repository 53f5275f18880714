"""Interests as themes: soft clusters of items, learned from what users take together.

Item i belongs to theme c with q_ic = softmax_c(W y_i + b + d_ic), d_i being what its users say of it; the expert of a
user with theme shares theta_c is p(i) / p_0(i) = sum_c theta_c q_ic / qbar_c, with qbar_c = sum_i p_0(i) q_ic. It is a
normalised density whatever the parameters. theta is the collapsed posterior (CVB0; Teh et al., NIPS 2006; Asuncion et
al., UAI 2009) of a sparse mixture over the user's other interactions, each counted by its responsibility.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from demure.model.batch import Context

_FEW = 20_000  # items


@dataclass
class Shares:
    """``affinity_BTC`` q_ic / qbar_c of every position; ``share_BTC`` its current posterior over the themes;
    ``prior_BTC`` qbar_c of its period; ``density_BTC`` theta_c / qbar_c, what the user's others make of each theme, if
    they were asked yet."""

    affinity_BTC: Tensor
    share_BTC: Tensor
    prior_BTC: Tensor
    density_BTC: Tensor | None = None


class Themes(nn.Module):
    """Cluster expert of one modality. ``centres`` (C, D) and ``variance`` start the soft clusters as a k-means
    mixture of ``n_items``; ``offset_IC`` is what their users say (``demure.training.belief_propagation``)."""

    offset_IC: Tensor

    def __init__(self, centres: np.ndarray, variance: float, n_items: int) -> None:
        super().__init__()
        mu = torch.as_tensor(centres, dtype=torch.float32)
        self.weight = nn.Parameter(mu / variance)
        self.bias = nn.Parameter(-0.5 * mu.square().sum(1) / variance)
        self.log_smoothing = nn.Parameter(torch.tensor(math.log(1.0)))
        self.register_buffer("offset_IC", torch.zeros(n_items, len(mu)))

    def memberships(self, coordinates_ID: Tensor, popularity_IG: Tensor) -> tuple[Tensor, Tensor]:
        """q (I, C) and its mean under the popularity in every period, qbar (G, C)."""
        q_IC = torch.softmax(self._logits(coordinates_ID) + self.offset_IC, dim=1)
        return q_IC, (popularity_IG.T @ q_IC).clamp(min=1e-8)

    def memberships_some(self, coordinates_ND: Tensor, weight_NG: Tensor) -> tuple[Tensor, Tensor]:
        """q (N, C) of some items without offsets, and an estimate of qbar (G, C) from their weights, which sum to 1."""
        q_NC = self.by_features(coordinates_ND)
        return q_NC, (weight_NG.T @ q_NC).clamp(min=1e-8)

    def by_features(self, coordinates_ID: Tensor) -> Tensor:
        """q (..., C) by the features alone."""
        return torch.softmax(self._logits(coordinates_ID), dim=-1)

    def _logits(self, coordinates_ID: Tensor) -> Tensor:
        return coordinates_ID @ self.weight.T + self.bias

    def open(self, q_IC: Tensor, prior_GC: Tensor, context: Context, own_BTC: Tensor | None = None) -> Shares:
        """Every position starts with the memberships of its item, without what the user said of it: ``own_BTC``, its
        part of ``offset_IC``."""
        q_BTC = F.embedding(context.items_BT, q_IC)  # unlike q_IC[items_BT], its gradient adds up in a fixed order
        if own_BTC is not None:
            q_BTC = torch.softmax(q_BTC.clamp(min=1e-12).log() - own_BTC, -1)
        prior_BTC = prior_GC[:1, None] if len(prior_GC) == 1 else F.embedding(context.beside.period_BT, prior_GC)
        return Shares(q_BTC / prior_BTC, q_BTC, prior_BTC)

    def ratio(self, shares: Shares, decay_BTT: Tensor, weight_BT: Tensor, mass_BT: Tensor) -> tuple[Tensor, Shares]:
        """Density ratio (B, T) of every target given the weighted others, and the updated posterior over themes."""
        smoothing = self.log_smoothing.exp()
        counts_BTC = decay_BTT.transpose(1, 2) @ (weight_BT[..., None] * shares.share_BTC)
        theta_BTC = (counts_BTC + smoothing * shares.prior_BTC) / (mass_BT[..., None] + smoothing)
        joint_BTC = theta_BTC * shares.affinity_BTC
        ratio_BT = joint_BTC.sum(-1)
        share_BTC = joint_BTC / ratio_BT[..., None].clamp(min=1e-9)
        return ratio_BT, Shares(shares.affinity_BTC, share_BTC, shares.prior_BTC, theta_BTC / shares.prior_BTC)

    def density(self, shares: Shares, prior_C: Tensor, weight_BT: Tensor) -> Tensor:
        """theta_c / qbar_c of the whole history (B, C); times q, the ratio of every item of the catalogue."""
        smoothing = self.log_smoothing.exp()
        counts_BC = torch.einsum("bt,btc->bc", weight_BT, shares.share_BTC)
        return (counts_BC / prior_C + smoothing) / (weight_BT.sum(1, keepdim=True) + smoothing)


def start_themes(coordinates: np.ndarray, spread: np.ndarray, present: np.ndarray, count: int, seed: int) -> Themes:
    """k-means over the latent coordinates, each scaled by its spread (so that strong components count more)."""
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    scaled = theme_space(coordinates, spread)[present]
    sample = scaled
    if len(scaled) > 100_000:
        sample = scaled[np.random.default_rng(seed).choice(len(scaled), 100_000, replace=False)]
    count = max(1, min(count, len(np.unique(sample, axis=0))))
    with threadpool_limits(1):  # three threads add up in an order of their own each time
        tries = 4 if len(sample) > _FEW else 30  # a poor start costs more than it takes to look for a better one
        found = KMeans(count, n_init=tries, random_state=seed).fit(sample)
    variance = float(((sample - found.cluster_centers_[found.labels_]) ** 2).mean())
    return Themes(found.cluster_centers_, max(variance, 1e-3), len(coordinates))


def theme_space(coordinates: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Coordinates (I, D) with their natural proportions, of mean square 1."""
    scale = spread / np.sqrt(np.mean(np.square(spread)))
    return (coordinates * scale).astype(np.float32)
