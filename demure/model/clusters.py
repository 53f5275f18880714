"""The cluster expert: a user's interests as shares of soft clusters of items, learned from co-occurrence.

Item i belongs to cluster c with q_ic = softmax_c(W y_i + b + d_ic), where y_i are its scaled latent coordinates and
d_ic the log messages of its users (``demure.training.belief_propagation``). A user with cluster shares theta_c has the
density ratio

    rho(i) = p(i) / p_0(i) = sum_c theta_c q_ic / qbar_c,    qbar_c = sum_i p_0(i) q_ic,

which is a normalised density for any parameters. theta is the collapsed posterior (CVB0; Teh et al., NIPS 2006;
Asuncion et al., UAI 2009) of a sparse mixture over the user's other interactions, each counted by its responsibility.

Shape suffixes: B users, T positions, I items, D latent dimensions, C clusters, P time periods (0: all
time), N some of the items.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from demure.model.batch import HistoryBatch

_KMEANS_SAMPLE = 100_000  # items
_SMALL_SAMPLE = 20_000  # items up to which k-means starts 30 times instead of 4


@dataclass
class ClusterState:
    """The cluster expert on one batch.

    ``affinity_BTC``: q_ic / qbar_c of every position's item. ``posterior_BTC``: current posterior over the clusters of
    every position. ``prior_BTC``: qbar_c in the period of the position. ``theta_BTC``: theta_c from the user's other
    positions, None before the first call of :meth:`ClusterExpert.ratio`.
    """

    affinity_BTC: Tensor
    posterior_BTC: Tensor
    prior_BTC: Tensor
    theta_BTC: Tensor | None = None

    @property
    def density_BTC(self) -> Tensor:
        """theta_c / qbar_c; only after a call of :meth:`ClusterExpert.ratio`."""
        assert self.theta_BTC is not None
        return self.theta_BTC / self.prior_BTC


class ClusterExpert(nn.Module):
    """Cluster expert of one modality.

    ``centres`` (C, D) and ``variance`` of a k-means mixture initialise the soft clusters of ``n_items`` items.
    ``offset_IC`` is the sum of the messages of an item's users, 0 until belief propagation sets it.
    """

    offset_IC: Tensor

    def __init__(self, centres: np.ndarray, variance: float, n_items: int) -> None:
        super().__init__()
        mu = torch.as_tensor(centres, dtype=torch.float32)
        self.weight = nn.Parameter(mu / variance)
        self.bias = nn.Parameter(-0.5 * mu.square().sum(1) / variance)
        self.log_smoothing = nn.Parameter(torch.tensor(math.log(1.0)))
        self.register_buffer("offset_IC", torch.zeros(n_items, len(mu)))

    def memberships(self, coordinates_ID: Tensor, popularity_IP: Tensor) -> tuple[Tensor, Tensor]:
        """Return q (I, C) of all items, and qbar (P, C), its mean under the popularity of each period."""
        q_IC = torch.softmax(self._logits(coordinates_ID) + self.offset_IC, dim=1)
        return q_IC, (popularity_IP.T @ q_IC).clamp(min=1e-8)

    def memberships_of_subset(self, coordinates_ND: Tensor, weight_NP: Tensor) -> tuple[Tensor, Tensor]:
        """Return q (N, C) of some items without offsets, and an estimate of qbar (P, C).

        ``weight_NP`` are the weights of the items in the estimate; they sum to 1 in each period.
        """
        q_NC = self.memberships_by_features(coordinates_ND)
        return q_NC, (weight_NP.T @ q_NC).clamp(min=1e-8)

    def memberships_of_items(self, coordinates_ND: Tensor, items_N: Tensor) -> Tensor:
        """Return q (N, C) of these items, whose coordinates are given, with the messages of their users."""
        return torch.softmax(self._logits(coordinates_ND) + self.offset_IC[items_N], dim=1)

    def memberships_by_features(self, coordinates_ID: Tensor) -> Tensor:
        """Return q (..., C) by the features alone, without the messages of users."""
        return torch.softmax(self._logits(coordinates_ID), dim=-1)

    def _logits(self, coordinates_ID: Tensor) -> Tensor:
        return coordinates_ID @ self.weight.T + self.bias

    def init_state(
        self, q_IC: Tensor, prior_PC: Tensor, batch: HistoryBatch, cavity_BTC: Tensor | None = None
    ) -> ClusterState:
        """Start every position with the memberships of its item.

        ``cavity_BTC`` are the cavity messages (:meth:`Denoiser.infer`), a part of ``offset_IC``; they are left out, so
        that no interaction is evidence for itself.
        """
        q_BTC = F.embedding(batch.items_BT, q_IC)  # unlike q_IC[items_BT], its gradient adds up in a fixed order
        if cavity_BTC is not None:
            q_BTC = torch.softmax(q_BTC.clamp(min=1e-12).log() - cavity_BTC, -1)
        if len(prior_PC) == 1:
            prior_BTC = prior_PC[:1, None]
        else:
            prior_BTC = F.embedding(batch.side_information.period_BT, prior_PC)
        return ClusterState(q_BTC / prior_BTC, q_BTC, prior_BTC)

    def ratio(
        self, state: ClusterState, decay_BTT: Tensor, weight_BT: Tensor, mass_BT: Tensor, smoothing: Tensor
    ) -> tuple[Tensor, ClusterState]:
        """Return the density ratio (B, T) of every target given the weighted sources, and the updated state.

        ``mass_BT`` is the total weight of the sources of each target, ``smoothing`` that of the prior of theta.
        """
        counts_BTC = decay_BTT.transpose(1, 2) @ (weight_BT[..., None] * state.posterior_BTC)
        theta_BTC = (counts_BTC + smoothing * state.prior_BTC) / (mass_BT[..., None] + smoothing)
        joint_BTC = theta_BTC * state.affinity_BTC
        ratio_BT = joint_BTC.sum(-1)
        posterior_BTC = joint_BTC / ratio_BT[..., None].clamp(min=1e-9)
        return ratio_BT, ClusterState(state.affinity_BTC, posterior_BTC, state.prior_BTC, theta_BTC)

    def density(self, state: ClusterState, prior_C: Tensor, weight_BT: Tensor) -> Tensor:
        """Return theta_c / qbar_c of the whole history (B, C); times q_ic it is the density ratio of any item."""
        smoothing = self.log_smoothing.exp()
        counts_BC = torch.einsum("bt,btc->bc", weight_BT, state.posterior_BTC)
        return (counts_BC / prior_C + smoothing) / (weight_BT.sum(1, keepdim=True) + smoothing)


def init_clusters(
    coordinates: np.ndarray, spread: np.ndarray, present: np.ndarray, count: int, seed: int
) -> ClusterExpert:
    """Return a cluster expert started by k-means in :func:`cluster_space`.

    At most ``count`` clusters; fewer where the items ``present`` (I,) have fewer distinct ``coordinates`` (I, D).
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    scaled = cluster_space(coordinates, spread)[present]
    sample = scaled
    if len(scaled) > _KMEANS_SAMPLE:
        sample = scaled[np.random.default_rng(seed).choice(len(scaled), _KMEANS_SAMPLE, replace=False)]
    count = max(1, min(count, len(np.unique(sample, axis=0))))
    with threadpool_limits(1):  # several threads add up in an order that changes from run to run
        restarts = 4 if len(sample) > _SMALL_SAMPLE else 30  # a poor start costs more than the search for a better one
        kmeans = KMeans(count, n_init=restarts, random_state=seed).fit(sample)
    variance = float(((sample - kmeans.cluster_centers_[kmeans.labels_]) ** 2).mean())
    return ClusterExpert(kmeans.cluster_centers_, max(variance, 1e-3), len(coordinates))


def cluster_space(coordinates: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Return the coordinates (I, D) scaled by their ``spread`` (D,), so that strong components count more.

    The scales have mean square 1.
    """
    scale = spread / np.sqrt(np.mean(np.square(spread)))
    scaled_ID: np.ndarray = (coordinates * scale).astype(np.float32)
    return scaled_ID
