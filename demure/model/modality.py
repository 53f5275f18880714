"""The expert of one modality: a kernel expert and a cluster expert over its latent space, and the gate between them.

    rho^m(i) = scale (g rho_kernel(i) + (1 - g) rho_cluster(i))    where item i has the modality,
    rho^m(i) = absence                                             where it has not.

``absence`` lies between 0 (a missing modality causes nothing) and 1 (users see it, only the data lack it): which of the
two holds differs by dataset and is learned. ``scale`` makes the whole a density.

Shape suffixes: B users, T positions (``x_BTT`` from source to target), I items, D latent dimensions, E = D + 1, C
clusters, P time periods (0: all time), N candidates of a softmax or some of the items.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from demure.model.batch import HistoryBatch
from demure.model.candidates import Candidates, CandidateSampler, DrawnItems
from demure.model.clusters import ClusterExpert, ClusterState, cluster_space
from demure.model.kernel import KernelExpert, KernelState
from demure.model.latent import Latent


@dataclass(frozen=True)
class CatalogueView:
    """The items as one expert sees them under its current parameters: all items, or those of a batch.

    ``present_I``: 1 where the item has the modality. ``z_IE``: items as targets of the kernel expert. ``q_IC``: their
    cluster memberships, with means ``prior_PC`` in each period. ``candidates``: stand for the catalogue in a softmax.
    ``share``: share of the interactions whose item has the modality. ``weight_I``: how those divide among the items.
    """

    present_I: Tensor
    z_IE: Tensor
    q_IC: Tensor
    prior_PC: Tensor
    candidates: Candidates
    share: Tensor
    weight_I: Tensor


@dataclass
class ExpertState:
    """A modality's expert on one batch.

    ``present_BT``: 1 where the item has the modality. ``decay_BTT``: weight of a source for a target.
    ``kernel_BTT``: ``decay_BTT`` times the kernel expert's density ratio. ``mixing``: what all rounds of the inference
    have in common.
    """

    present_BT: Tensor
    decay_BTT: Tensor
    kernel: KernelState
    kernel_BTT: Tensor
    clusters: ClusterState
    mixing: Mixing


@dataclass(frozen=True)
class Mixing:
    """Parameters of an expert as they enter its ratios, computed once for a batch.

    ``source_BT``: 1 where the position is a source. ``gate``: share of the kernel expert. ``scale``, ``absence``: see
    the equations of this module. ``kernel_smoothing``, ``cluster_smoothing``: weights of the priors.
    """

    source_BT: Tensor
    gate: Tensor
    scale: Tensor
    absence: Tensor
    kernel_smoothing: Tensor
    cluster_smoothing: Tensor


class ModalityExpert(nn.Module):
    """Density ratios rho^m of one modality; with ``ordered``, a source's weight falls with its distance in steps."""

    coordinates_ID: Tensor
    cluster_space_ID: Tensor
    present_I: Tensor

    def __init__(self, latent: Latent, clusters: ClusterExpert, *, ordered: bool) -> None:
        super().__init__()
        self.register_buffer("coordinates_ID", torch.as_tensor(latent.coordinates))
        self.register_buffer("cluster_space_ID", torch.as_tensor(cluster_space(latent.coordinates, latent.spread)))
        self.register_buffer("present_I", torch.as_tensor(latent.present, dtype=torch.float32))
        self.kernel = KernelExpert(latent.spread, len(latent.coordinates))
        self.clusters = clusters
        self.gate = nn.Parameter(torch.tensor(0.0))
        self.absence = nn.Parameter(torch.tensor(0.0))
        self.fading = nn.Parameter(torch.tensor(-3.0), requires_grad=ordered)
        self.ordered = ordered

    def sampler(self, popularity_I: Tensor, count: int | None) -> CandidateSampler:
        """Return a sampler of ``count`` candidates, None: of all items; ``popularity_I`` sums to 1."""
        return CandidateSampler(self._popularity(popularity_I)[0], int(self.present_I.sum()), count)

    def _popularity(self, popularity_I: Tensor) -> tuple[Tensor, Tensor]:
        """Return the popularity among the items with the modality (I,), and their share of the interactions."""
        own = popularity_I * self.present_I
        share = own.sum().clamp(min=1e-6)
        return own / share, share

    def view(self, popularity_I: Tensor, drawn: DrawnItems, popularity_factor_IP: Tensor) -> CatalogueView:
        """Return the view of all items; ``popularity_factor_IP`` as in :class:`Denoiser`."""
        own, share = self._popularity(popularity_I)
        own_IP = own[:, None] * popularity_factor_IP
        q_IC, prior_PC = self.clusters.memberships(self.cluster_space_ID, own_IP / own_IP.sum(0).clamp(min=1e-9))
        z_IE = self.kernel.embed(self.coordinates_ID, self.present_I)
        factor_NP = popularity_factor_IP[drawn.items_N]
        candidates = Candidates.build(drawn.items_N, drawn.log_weights(own), len(own), factor_NP)
        return CatalogueView(self.present_I, z_IE, q_IC, prior_PC, candidates, share, own)

    def view_of_subset(
        self, rows_N: Tensor, drawn: DrawnItems, popularity_I: Tensor, popularity_factor_IP: Tensor
    ) -> CatalogueView:
        """Return the view of the items ``rows_N`` alone, numbered from 0; those of ``drawn`` are among them.

        The items have no offsets, and means over all items are estimated from the candidates.
        """
        own, share = self._popularity(popularity_I)
        items, log_weight = drawn.items_N, drawn.log_weights(own)
        present = self.present_I[rows_N]
        factor_NP = popularity_factor_IP[items]
        candidates = Candidates.build(torch.searchsorted(rows_N, items), log_weight, len(rows_N), factor_NP)
        z_NE = self.kernel.embed_subset(self.coordinates_ID[rows_N], present, self._mean_square_D)
        weight_N = torch.zeros_like(present).index_put((candidates.items_N,), candidates.log_weight_N.exp())
        weight_NP = torch.zeros(len(rows_N), popularity_factor_IP.shape[1], device=weight_N.device)
        weight_NP[candidates.items_N] = candidates.log_weight_N.exp()[:, None] * candidates.period_NP
        q_NC, prior_PC = self.clusters.memberships_of_subset(self.cluster_space_ID[rows_N], weight_NP)
        return CatalogueView(present, z_NE, q_NC, prior_PC, candidates, share, weight_N)

    def memberships_of(self, items_N: Tensor) -> Tensor:
        """Return the cluster memberships q (N, C) of some items, messages of their users included."""
        items_N = items_N.to(self.cluster_space_ID.device)
        return self.clusters.memberships_of_items(self.cluster_space_ID[items_N], items_N)

    @cached_property
    def _mean_square_D(self) -> Tensor:
        return self.coordinates_ID.square().sum(0) / self.present_I.sum().clamp(min=1)

    def init_state(self, view: CatalogueView, batch: HistoryBatch, cavity_BTC: Tensor | None = None) -> ExpertState:
        """Start on a batch from each item alone; ``cavity_BTC`` as in :meth:`ClusterExpert.init_state`."""
        present = view.present_I[batch.items_BT] * batch.valid_BT
        decay = (-F.softplus(self.fading) * batch.log_gap_BTT).exp() * batch.visible_BTT
        source = present * batch.observed_BT
        kernel = self.kernel.init_state(view.z_IE, batch, source, view.candidates)
        clusters = self.clusters.init_state(view.q_IC, view.prior_PC, batch, cavity_BTC)
        mixing = Mixing(
            source,
            torch.sigmoid(self.gate),
            self.scale(view),
            torch.sigmoid(self.absence),
            self.kernel.log_smoothing.exp(),
            self.clusters.log_smoothing.exp(),
        )
        return ExpertState(present, decay, kernel, decay * kernel.ratio_BTT, clusters, mixing)

    def ratio(self, state: ExpertState, r_BT: Tensor) -> Tensor:
        """Return rho^m(i_t) (B, T) given the other positions, weighted by their responsibilities ``r_BT``.

        Updates ``state.clusters``.
        """
        mixing, decay_BTT = state.mixing, state.decay_BTT
        weight_BT = r_BT * mixing.source_BT
        mass_BT = (weight_BT[:, None] @ decay_BTT)[:, 0]
        kernel = self.kernel.ratio(state.kernel_BTT, weight_BT, mass_BT, mixing.kernel_smoothing)
        cluster, state.clusters = self.clusters.ratio(
            state.clusters, decay_BTT, weight_BT, mass_BT, mixing.cluster_smoothing
        )
        mixed = torch.lerp(cluster, kernel, mixing.gate)
        return torch.where(state.present_BT > 0, mixed * mixing.scale, mixing.absence)

    def messages(self, state: ExpertState, view: CatalogueView, ratio_BT: Tensor, r_BT: Tensor) -> Tensor:
        """Return the log message of every position to its item's cluster (B, T, C), of mean 0 over the clusters.

        It is log p(interaction | the item is in cluster c) up to a constant. The mixture is linear in rho^m, and r is
        the modality's part of it: log(1 - r + r rho_c / rho), where rho_c is the ratio of an item of cluster c alone.
        0 where the modality is missing.
        """
        density_BTC = state.clusters.density_BTC
        cluster_BT1 = (density_BTC * state.clusters.affinity_BTC * state.clusters.prior_BTC).sum(-1, keepdim=True)
        change_BTC = (1 - torch.sigmoid(self.gate)) * self.scale(view) * (density_BTC - cluster_BT1)
        slope_BT1 = (r_BT / ratio_BT.clamp(min=1e-9))[..., None]
        message_BTC = (1 + slope_BT1 * change_BTC).clamp(min=1e-9).log()
        return (message_BTC - message_BTC.mean(-1, keepdim=True)) * state.present_BT[..., None]

    def content_only_ratio(
        self, state: ExpertState, view: CatalogueView, batch: HistoryBatch, ratio_BT: Tensor
    ) -> Tensor:
        """Return ``ratio_BT`` without the messages about the targets: their own features alone count.

        Messages about the other items stay. An item's users are not evidence for its content.
        """
        density_BTC = state.clusters.density_BTC
        by_features_BTC = self.clusters.memberships_by_features(self.cluster_space_ID[batch.items_BT])
        with_messages_BTC = state.clusters.affinity_BTC * state.clusters.prior_BTC
        change_BT = (density_BTC * (by_features_BTC - with_messages_BTC)).sum(-1)
        scale = (1 - torch.sigmoid(self.gate)) * self.scale(view)
        return (ratio_BT + scale * change_BT * state.present_BT).clamp(min=0.0)

    def shift_centres(self, state: ExpertState, view: CatalogueView, batch: HistoryBatch, r_BT: Tensor) -> None:
        """Move the kernel expert's centres by the current responsibilities of the history; updates ``state``."""
        source = state.mixing.source_BT
        state.kernel = self.kernel.mean_shift(state.kernel, view.z_IE, batch, source, r_BT, view.candidates)
        state.kernel_BTT = state.decay_BTT * state.kernel.ratio_BTT

    def contributions(self, state: ExpertState, batch: HistoryBatch, r_BT: Tensor) -> Tensor:
        """Return the share (B, T, T) of each source in the density of each target.

        Sums over the sources to at most 1; the rest is due to smoothing.
        """
        weight_BTT = state.decay_BTT * (r_BT * batch.observed_BT * state.present_BT)[..., None]
        gate = torch.sigmoid(self.gate)
        pairs_BTT = gate * state.kernel.ratio_BTT
        pairs_BTT = pairs_BTT + (1 - gate) * state.clusters.posterior_BTC @ state.clusters.affinity_BTC.transpose(1, 2)
        parts_BTT = weight_BTT * pairs_BTT * state.present_BT[:, None, :]
        return parts_BTT / (parts_BTT.sum(1, keepdim=True) + self.kernel.log_smoothing.exp())

    def catalogue_ratios(
        self, state: ExpertState, view: CatalogueView, batch: HistoryBatch, r_BT: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return rho^m of every item given the history (B, I), and theta_c / qbar_c of each cluster (B, C)."""
        density_BC, kernel_BI = self.densities(state, view, batch, r_BT, view.z_IE)
        gate = torch.sigmoid(self.gate)
        ratio = gate * kernel_BI + (1 - gate) * (density_BC @ view.q_IC.T)
        return self._complete(ratio, self.present_I, view), density_BC

    def densities(
        self, state: ExpertState, view: CatalogueView, batch: HistoryBatch, r_BT: Tensor, z_NE: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return theta_c / qbar_c of each cluster (B, C), and the kernel's density ratios for the targets ``z_NE``
        (B, N), given the whole history."""
        fading = (-F.softplus(self.fading) * batch.log_age_BT).exp() if self.ordered else 1.0
        weight_BT = r_BT * state.mixing.source_BT * fading
        density_BC = self.clusters.density(state.clusters, view.prior_PC[0], weight_BT)
        return density_BC, self.kernel.catalogue_ratios(state.kernel, z_NE, weight_BT)

    def _complete(self, ratio: Tensor, present: Tensor, view: CatalogueView) -> Tensor:
        """Give items without the modality the ratio ``absence``; scale the others so that the whole is a density."""
        return torch.where(present > 0, ratio * self.scale(view), torch.sigmoid(self.absence))

    def scale(self, view: CatalogueView) -> Tensor:
        """Return the mean density ratio of the items that have the modality."""
        return (1 - torch.sigmoid(self.absence) * (1 - view.share)) / view.share
