"""Interests as points: every item of a history is the seed of an interest, moved towards the others that share it.

The expert is a kernel density over the catalogue. A seed j has a centre c_j, the mean of z_j and of the other items z_k
of the history that lie near it, each weighted by a_jk r_k (one step of mean shift; what was noise, by its
responsibility r_k, does not pull), and predicts softmax_i(-lambda_j |z_i - c_j|^2 / 2): the InfoNCE expert of the
paper's contrastive denoising, one per interest instead of one per user. The more items agree, the sharper lambda_j.

Items lie between two geometries, z = x |x|^-rho: on the unit sphere for rho = 1, where the expert is the usual cosine
softmax, and as the encoder left them for rho = 0. Which of them fits is learned. Where an item lies is what the encoder
says of it and an offset of its own, Gaussian, small, for what its users know and its features do not say (the item
offsets of collaborative topic regression; Wang and Blei, KDD 2011).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from demure.model.batch import Context
from demure.model.log_normalizer import log_normaliser

_CELLS = 100_000_000
_MOST = 20.0  # log of a density ratio
_SILENT = 1e4  # the log-normaliser of what is no source: it predicts nothing


@dataclass(frozen=True)
class Candidates:
    """What stands for the catalogue in a softmax: ``items_N`` with the log-probabilities ``log_weight_N``, which carry
    the correction of sampling (logQ); ``place_I`` where each item is among them, -1 where it is not; ``period_NG`` how
    much more popular they were in each period of time than on the whole, period 0 being the whole."""

    items_N: Tensor
    log_weight_N: Tensor
    place_I: Tensor
    period_NG: Tensor

    @classmethod
    def of(cls, items_N: Tensor, log_weight_N: Tensor, n_items: int, period_NG: Tensor) -> Candidates:
        """Number the candidates, and scale them to sum to 1 in every period."""
        place = torch.full((n_items,), -1, device=items_N.device)
        place[items_N] = torch.arange(len(items_N), device=items_N.device)
        log_weight_N = log_weight_N - log_weight_N.logsumexp(0)
        return cls(items_N, log_weight_N, place, period_NG / (log_weight_N.exp() @ period_NG).clamp(min=1e-9))


@dataclass
class Seeds:
    """Positions ``z_BTE`` of a batch as :meth:`Points.embed` gives them, likeness ``near_BTT``, centres ``eta_BTE``
    times sharpness, log-normalisers ``log_norm_BTG`` for each period and density ratios ``ratio_BTT`` of every seed for
    every target."""

    z_BTE: Tensor
    near_BTT: Tensor
    eta_BTE: Tensor
    log_norm_BTG: Tensor
    ratio_BTT: Tensor


class Points(nn.Module):
    """Kernel expert of one modality, over latent coordinates with the proportions ``spread`` (D,)."""

    log_spread_D: Tensor

    def __init__(self, spread: np.ndarray, n_items: int) -> None:
        super().__init__()
        log_spread = np.log(np.maximum(spread, 1e-12))
        self.register_buffer("log_spread_D", torch.as_tensor(log_spread - log_spread.max(), dtype=torch.float32))
        self.proportion = nn.Parameter(torch.tensor(0.0))
        self.log_metric = nn.Parameter(torch.zeros(len(spread)))
        self.roundness = nn.Parameter(torch.tensor(0.0))
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(4.5)))
        self.growth = nn.Parameter(torch.tensor(-1.0))
        self.log_slope = nn.Parameter(torch.tensor(math.log(7.0)))
        self.nearness = nn.Parameter(torch.tensor(0.5))
        self.log_pull = nn.Parameter(torch.tensor(math.log(0.8)))
        self.log_smoothing = nn.Parameter(torch.tensor(0.0))
        self.offset_ID = nn.Parameter(torch.zeros(n_items, len(spread)), requires_grad=False)

    def embed(self, coordinates_ID: Tensor, present_I: Tensor) -> Tensor:
        """Items as targets (I, D + 1): (z, -|z|^2 / 2), so that <(c, 1), target> is -|z - c|^2 / 2 but for a constant.

        Zero where the modality is missing.
        """
        x = (coordinates_ID + self.offset_ID) * self._scale_D()
        length = x.square().sum(1).clamp(min=1e-12).sqrt()
        unit = ((length.square() * present_I).sum() / present_I.sum().clamp(min=1)).sqrt()
        return self._targets(x, length / unit, present_I)

    def embed_some(self, coordinates_ND: Tensor, present_N: Tensor, mean_square_D: Tensor) -> Tensor:
        """The same of some items without offsets, given the mean square of all present items' coordinates."""
        scale_D = self._scale_D()
        x = coordinates_ND * scale_D
        length = x.square().sum(1).clamp(min=1e-12).sqrt()
        return self._targets(x, length / (scale_D.square() * mean_square_D).sum().sqrt(), present_N)

    def _scale_D(self) -> Tensor:
        return (self.log_metric + torch.sigmoid(self.proportion) * self.log_spread_D).exp()

    def _targets(self, x_ID: Tensor, length_I: Tensor, present_I: Tensor) -> Tensor:
        unit = F.normalize(x_ID, dim=1)
        z = unit * length_I.clamp(min=1e-3)[:, None] ** (1 - torch.sigmoid(self.roundness))
        return torch.cat([z, -z.square().sum(1, keepdim=True) / 2], 1) * present_I[:, None]

    def open(self, z_IE: Tensor, context: Context, source_BT: Tensor, candidates: Candidates) -> Seeds:
        """Seeds that have not moved yet: each predicts from its own item alone, where it is a source at all."""
        z_BTE = F.embedding(context.items_BT, z_IE)  # unlike z_IE[items_BT], its gradient adds up in a fixed order
        source = _source(z_BTE)
        agreement = source @ z_BTE.transpose(1, 2)
        near = 1 + agreement + z_BTE[..., -1:]
        sharpness = self.log_sharpness.exp()
        eta = sharpness * source
        log_norm, _ = _normaliser(eta, z_IE, context.items_BT, source_BT, candidates)
        return Seeds(z_BTE, near, eta, log_norm, (sharpness * agreement - _at_targets(log_norm, context)).exp())

    def shift(
        self, seeds: Seeds, z_IE: Tensor, context: Context, source_BT: Tensor, r_BT: Tensor, candidates: Candidates
    ) -> Seeds:
        """Move the seeds towards their neighbours and predict again; no target pulls the centre that judges it.

        Leaving target t (and wherever else its item occurs) out of c_j needs no second pass: it is linear but for the
        log-normaliser, which, convex in the centre, is continued along its tangent.
        """
        near = torch.sigmoid(self.log_slope.exp() * (seeds.near_BTT - self.nearness))
        mutual = context.reach_BTT.transpose(1, 2) * context.known_BT[:, :, None]
        pull = near * mutual * (r_BT * source_BT)[:, None, :] * self.log_pull.exp()
        z, source = seeds.z_BTE, _source(seeds.z_BTE)
        h = source + pull @ source
        mass = h[..., -1]
        eta = h * (self._sharpness(mass) / mass)[..., None]
        log_norm, mean = _normaliser(eta, z_IE, context.items_BT, source_BT, candidates)
        own = pull @ (context.items_BT[:, :, None] == context.items_BT[:, None, :]).float()
        itself = (source * z).sum(-1)[:, None, :]
        mass_out = mass[..., None] - own
        scale_out = self._sharpness(mass_out) / mass_out
        tangent = scale_out * ((h * mean).sum(-1)[..., None] - own * (mean @ source.transpose(1, 2)))
        log_norm_out = _at_targets(log_norm, context) + tangent - (eta * mean).sum(-1)[..., None]
        # A density is at most 1; the tangent alone does not know it.
        ratio = (scale_out * (h @ z.transpose(1, 2) - own * itself) - log_norm_out).clamp(max=_MOST).exp()
        return Seeds(z, seeds.near_BTT, eta, log_norm, ratio)

    def ratio(self, kernel_BTT: Tensor, weight_BT: Tensor, mass_BT: Tensor) -> Tensor:
        """Density ratio p(i_t | others) / p_0(i_t) (B, T): ``kernel_BTT`` of the sources weighted, smoothed towards
        1."""
        smoothing = self.log_smoothing.exp()
        return ((weight_BT[:, None] @ kernel_BTT)[:, 0] + smoothing) / (mass_BT + smoothing)

    def over_catalogue(self, seeds: Seeds, z_IE: Tensor, weight_BT: Tensor) -> Tensor:
        """The same ratio for every item of the catalogue (B, I), from the seeds weighted by ``weight_BT``."""
        smoothing = self.log_smoothing.exp()
        parts = []
        # Never users x history x all items; an exported graph does not know how many users there will be.
        size = len(z_IE) if _exporting() else max(1, _CELLS // max(1, weight_BT.numel()))
        for part_E in z_IE.split(size):
            dense = (seeds.eta_BTE @ part_E.T - seeds.log_norm_BTG[..., :1]).exp_()
            parts.append(torch.einsum("bt,bti->bi", weight_BT, dense))
        total = torch.cat(parts, 1)
        return (total + smoothing) / (weight_BT.sum(1, keepdim=True) + smoothing)

    def _sharpness(self, mass: Tensor) -> Tensor:
        return self.log_sharpness.exp() * (1 + F.softplus(self.growth) * (mass - 1).clamp(min=0))


def _exporting() -> bool:
    """Whether a graph is being made of what is called; torch tells since 2.7."""
    return bool(getattr(torch.compiler, "is_exporting", bool)())


def _at_targets(log_norm_BTG: Tensor, context: Context) -> Tensor:
    """Log-normalisers of every source (middle) in the period of every target (last), (B, T, T)."""
    if log_norm_BTG.shape[-1] == 1:
        return log_norm_BTG
    at_BTT = context.beside.period_BT[:, None, :].expand(-1, log_norm_BTG.shape[1], -1)
    return log_norm_BTG.gather(2, at_BTT)


def _source(z_BTE: Tensor) -> Tensor:
    """Targets (z, -|z|^2 / 2) as sources (z, 1)."""
    return torch.cat([z_BTE[..., :-1], torch.ones_like(z_BTE[..., -1:])], -1)


def _normaliser(
    eta_BTE: Tensor, z_IE: Tensor, items_BT: Tensor, source_BT: Tensor, candidates: Candidates
) -> tuple[Tensor, Tensor]:
    """log sum_i p_g(i) exp<eta, z_i> (B, T, G) of the sources over the candidates in every period, and the mean of z
    under the whole (B, T, E).

    The seed's own item is left out because it can not be chosen again.
    """
    if _exporting():
        return _normaliser_at_once(eta_BTE, z_IE, items_BT, source_BT, candidates)
    row = torch.nonzero(source_BT.flatten() > 0)[:, 0]
    found, centre = log_normaliser(
        eta_BTE.flatten(0, 1)[row],
        z_IE[candidates.items_N],
        candidates.log_weight_N,
        candidates.place_I[items_BT.flatten()[row]],
        candidates.period_NG,
    )
    periods = candidates.period_NG.shape[1]
    log_norm = eta_BTE.new_full((source_BT.numel(), periods), _SILENT).index_put((row,), found)
    mean = torch.zeros_like(eta_BTE).flatten(0, 1).index_put((row,), centre)
    return log_norm.view(*source_BT.shape, periods), mean.view_as(eta_BTE)


def _normaliser_at_once(
    eta_BTE: Tensor, z_IE: Tensor, items_BT: Tensor, source_BT: Tensor, candidates: Candidates
) -> tuple[Tensor, Tensor]:
    """The same for an exported graph, which can neither choose rows by their content nor hold our own gradient."""
    z_NE = z_IE[candidates.items_N]
    own = candidates.place_I[items_BT][..., None] == torch.arange(len(z_NE), device=z_NE.device)
    logits = (eta_BTE @ z_NE.T + candidates.log_weight_N).masked_fill(own, -_SILENT)
    source = source_BT > 0
    log_norm = torch.where(source, logits.logsumexp(-1), _SILENT)
    return log_norm[..., None], torch.softmax(logits, -1) @ z_NE * source[..., None]
