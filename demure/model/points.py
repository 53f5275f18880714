"""Interests as points: every item of a history is the seed of an interest, moved towards the others that share it.

The expert is a kernel density over the catalogue. A seed j has a centre h_j = z_j + sum_k a_jk r_k z_k over the other
items k of the history that lie near it (one step of mean shift, weighted by the responsibilities r: what was noise does
not pull), and predicts softmax_i(<h_j, z_i>): the InfoNCE expert of the paper's contrastive denoising, one per interest
instead of one per user. The more items agree, the longer h_j and the sharper the prediction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from demure.model.context import Context


@dataclass
class Seeds:
    """Unit vectors ``z_BTD`` of a batch, their cosine ``cosine_BTT``, centres ``eta_BTD`` (direction times sharpness),
    log-normalisers ``log_norm_BT`` and the density ratios ``ratio_BTT`` of every seed for every target."""

    z_BTD: Tensor
    cosine_BTT: Tensor
    eta_BTD: Tensor
    log_norm_BT: Tensor
    ratio_BTT: Tensor


class Points(nn.Module):
    """Kernel expert of one modality. ``dim`` is D, the latent dimension."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.log_metric = nn.Parameter(torch.zeros(dim))
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(4.5)))
        self.growth = nn.Parameter(torch.tensor(-1.0))
        self.log_slope = nn.Parameter(torch.tensor(math.log(7.0)))
        self.nearness = nn.Parameter(torch.tensor(0.5))
        self.log_pull = nn.Parameter(torch.tensor(math.log(0.8)))
        self.log_smoothing = nn.Parameter(torch.tensor(0.0))

    def embed(self, coordinates_ID: Tensor, present_I: Tensor) -> Tensor:
        """Unit vectors (I, D) under the learned diagonal metric; zero where the modality is missing."""
        return F.normalize(coordinates_ID * self.log_metric.exp(), dim=1) * present_I[:, None]

    def open(self, z_ID: Tensor, items_BT: Tensor, candidates_N: Tensor, log_weight_N: Tensor) -> Seeds:
        """Seeds that have not moved yet: each predicts from its own item alone."""
        z_BTD = z_ID[items_BT]
        cosine = z_BTD @ z_BTD.transpose(1, 2)
        sharpness = self.log_sharpness.exp()
        eta = sharpness * z_BTD
        log_norm, _ = _normaliser(eta, z_ID, items_BT, candidates_N, log_weight_N)
        return Seeds(z_BTD, cosine, eta, log_norm, (sharpness * cosine - log_norm[..., None]).exp())

    def shift(
        self,
        seeds: Seeds,
        z_ID: Tensor,
        context: Context,
        r_BT: Tensor,
        candidates_N: Tensor,
        log_weight_N: Tensor,
    ) -> Seeds:
        """Move the seeds towards their neighbours and predict again; no target pulls the centre that judges it.

        Leaving target t out of h_j needs no second pass: <h_j - a_jt z_t, z_t> and its length follow from the matrix of
        cosines, and the log-normaliser, convex in the centre, is continued along its tangent.
        """
        near = torch.sigmoid(self.log_slope.exp() * (seeds.cosine_BTT - self.nearness))
        mutual = context.reach_BTT * context.known_BT[:, None, :]
        pull = near * mutual * (r_BT * context.known_BT)[:, None, :] * self.log_pull.exp()
        z = seeds.z_BTD
        h = z + pull @ z
        length = h.square().sum(-1).clamp(min=1e-6).sqrt()
        eta = h * (self._sharpness(length) / length)[..., None]
        log_norm, mean = _normaliser(eta, z_ID, context.items_BT, candidates_N, log_weight_N)
        with_target = h @ z.transpose(1, 2)
        length_out = (length.square()[..., None] - 2 * pull * with_target + pull.square()).clamp(min=1e-4).sqrt()
        scale_out = self._sharpness(length_out) / length_out
        tangent = scale_out * ((h * mean).sum(-1)[..., None] - pull * (mean @ z.transpose(1, 2)))
        log_norm_out = log_norm[..., None] + tangent - (eta * mean).sum(-1)[..., None]
        ratio = (scale_out * (with_target - pull) - log_norm_out).exp()
        return Seeds(z, seeds.cosine_BTT, eta, log_norm, ratio)

    def ratio(self, seeds: Seeds, weight_BTT: Tensor, mass_BT: Tensor) -> Tensor:
        """Density ratio p(i_t | others) / p_0(i_t) (B, T) from the seeds, weighted, smoothed towards 1."""
        smoothing = self.log_smoothing.exp()
        return ((weight_BTT * seeds.ratio_BTT).sum(1) + smoothing) / (mass_BT + smoothing)

    def over_catalogue(self, seeds: Seeds, z_ID: Tensor, weight_BT: Tensor) -> Tensor:
        """The same ratio for every item of the catalogue (B, I), from the seeds weighted by ``weight_BT``."""
        smoothing = self.log_smoothing.exp()
        dense = (seeds.eta_BTD @ z_ID.T - seeds.log_norm_BT[..., None]).exp_()
        total = torch.einsum("bt,bti->bi", weight_BT, dense)
        return (total + smoothing) / (weight_BT.sum(1, keepdim=True) + smoothing)

    def _sharpness(self, length: Tensor) -> Tensor:
        return self.log_sharpness.exp() * (1 + F.softplus(self.growth) * (length - 1).clamp(min=0))


def _normaliser(
    eta_BTD: Tensor, z_ID: Tensor, items_BT: Tensor, candidates_N: Tensor, log_weight_N: Tensor
) -> tuple[Tensor, Tensor]:
    """log sum_i p_0(i) exp<eta, z_i> over the candidates without the seed's own item, and the mean of z under it.

    The seed's own item is left out because it can not be chosen again; ``log_weight_N`` carries the correction of
    sampled candidates (logQ).
    """
    logits = eta_BTD @ z_ID[candidates_N].T + log_weight_N
    logits = logits.masked_fill(candidates_N[None, None, :] == items_BT[..., None], -1e4)
    log_norm = torch.logsumexp(logits, dim=-1)
    mean = (logits - log_norm[..., None]).exp() @ z_ID[candidates_N]
    return log_norm, mean
