"""The kernel expert: every item of a history is the centre of an interest, moved towards the items that share it.

The expert is a kernel density over the catalogue. The source j has the centre c_j, the mean of z_j and of the items z_k
of the history near it, each weighted by a_jk r_k: one step of mean shift, in which the responsibility r_k keeps noise
from pulling. It predicts softmax_i(-lambda_j |z_i - c_j|^2 / 2), the InfoNCE expert of the paper's contrastive
denoising, one per interest instead of one per user. The more items agree, the sharper lambda_j. With eta_j = lambda_j
(c_j, 1) and the log-normaliser A_j,

    k_j(i) = exp(<eta_j, (z_i, -|z_i|^2 / 2)> - A_j),    rho(i) = (sum_j w_j k_j(i) + s) / (sum_j w_j + s).

Items lie between two geometries, z = x |x|^-rho: on the unit sphere for rho = 1, where the expert is the usual cosine
softmax, and as the encoder left them for rho = 0. rho is learned. x is the item's feature plus a small offset of its
own with a Gaussian prior, for what the features do not explain (the item offsets of collaborative topic regression;
Wang and Blei, KDD 2011).

Shape suffixes: B users, T positions (``x_BTT`` from source to target), I items, D latent dimensions, E = D + 1, P
time periods, N candidates of a softmax or some of the items.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from demure.model.batch import HistoryBatch, is_exporting
from demure.model.candidates import Candidates
from demure.model.log_normalizer import log_normaliser

_ENTRIES = 1 << 18  # users x history x items held at once on a CPU: a megabyte, so that they stay in the cache
_ENTRIES_ON_ACCELERATOR = 100_000_000
_MAX_LOG_RATIO = 20.0
_LEAST_LOG_RATIO = -80.0  # below -87, as of a position that is not a source, exp takes twenty times as long
_NOT_A_SOURCE = 1e4  # log-normaliser of a position that is not a source: it predicts nothing


@dataclass
class KernelState:
    """The kernel expert on one batch.

    ``z_BTE``: items as targets, from :meth:`KernelExpert.embed`. ``similarity_BTT``: similarity of two positions'
    items. ``eta_BTE``: centres times sharpness. ``log_norm_BTP``: log-normalisers in each period. ``ratio_BTT``:
    density ratio that every source gives every target.
    """

    z_BTE: Tensor
    similarity_BTT: Tensor
    eta_BTE: Tensor
    log_norm_BTP: Tensor
    ratio_BTT: Tensor


class KernelExpert(nn.Module):
    """Kernel expert of one modality, over latent coordinates with the standard deviations ``spread`` (D,)."""

    log_spread_D: Tensor

    def __init__(self, spread: np.ndarray, n_items: int) -> None:
        super().__init__()
        log_spread = np.log(np.maximum(spread, 1e-12))
        self.register_buffer("log_spread_D", torch.as_tensor(log_spread - log_spread.max(), dtype=torch.float32))
        self.proportion = nn.Parameter(torch.tensor(0.0))  # logit: from whitened axes to those of the encoder
        self.log_metric = nn.Parameter(torch.zeros(len(spread)))
        self.roundness = nn.Parameter(torch.tensor(0.0))  # logit of rho
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(4.5)))  # log lambda of a single item
        self.growth = nn.Parameter(torch.tensor(-1.0))  # of lambda with the number of items that agree
        self.log_slope = nn.Parameter(torch.tensor(math.log(7.0)))  # a_jk = sigmoid(slope (similarity - nearness))
        self.nearness = nn.Parameter(torch.tensor(0.5))
        self.log_pull = nn.Parameter(torch.tensor(math.log(0.8)))
        self.log_smoothing = nn.Parameter(torch.tensor(0.0))  # log s
        self.offset_ID = nn.Parameter(torch.zeros(n_items, len(spread)), requires_grad=False)

    def embed(self, coordinates_ID: Tensor, present_I: Tensor) -> Tensor:
        """Return items as targets (I, E): (z, -|z|^2 / 2), zero where the modality is missing.

        <(c, 1), target> is then -|z - c|^2 / 2 up to a constant.
        """
        x = (coordinates_ID + self.offset_ID) * self._scale_D()
        length = x.square().sum(1).clamp(min=1e-12).sqrt()
        unit = ((length.square() * present_I).sum() / present_I.sum().clamp(min=1)).sqrt()
        return self._targets(x, length / unit, present_I)

    def embed_subset(self, coordinates_ND: Tensor, present_N: Tensor, mean_square_D: Tensor) -> Tensor:
        """Return some items as targets (N, E), without offsets.

        ``mean_square_D`` is the mean square of the coordinates of all items that have the modality.
        """
        scale_D = self._scale_D()
        x = coordinates_ND * scale_D
        length = x.square().sum(1).clamp(min=1e-12).sqrt()
        return self._targets(x, length / (scale_D.square() * mean_square_D).sum().sqrt(), present_N)

    def embed_variants(self, coordinates_ND: Tensor, item: int, coordinates_ID: Tensor, present_I: Tensor) -> Tensor:
        """Return other contents of ``item`` as targets (N, E), with its offset; the rest as in :meth:`embed`."""
        x_ID = (coordinates_ID + self.offset_ID) * self._scale_D()
        unit = ((x_ID.square().sum(1) * present_I).sum() / present_I.sum().clamp(min=1)).sqrt()
        x = (coordinates_ND + self.offset_ID[item]) * self._scale_D()
        length = x.square().sum(1).clamp(min=1e-12).sqrt()
        return self._targets(x, length / unit, torch.ones_like(length))

    def _scale_D(self) -> Tensor:
        return (self.log_metric + torch.sigmoid(self.proportion) * self.log_spread_D).exp()

    def _targets(self, x_ID: Tensor, length_I: Tensor, present_I: Tensor) -> Tensor:
        unit = F.normalize(x_ID, dim=1)
        z = unit * length_I.clamp(min=1e-3)[:, None] ** (1 - torch.sigmoid(self.roundness))
        return torch.cat([z, -z.square().sum(1, keepdim=True) / 2], 1) * present_I[:, None]

    def init_state(self, z_IE: Tensor, batch: HistoryBatch, source_BT: Tensor, candidates: Candidates) -> KernelState:
        """Centre every source on its own item. ``source_BT`` is 1 for the positions that are sources."""
        z_BTE = F.embedding(batch.items_BT, z_IE)  # unlike z_IE[items_BT], its gradient adds up in a fixed order
        source = _as_sources(z_BTE)
        agreement = source @ z_BTE.transpose(1, 2)
        similarity = 1 + agreement + z_BTE[..., -1:]
        sharpness = self.log_sharpness.exp()
        eta = sharpness * source
        log_norm = _item_normaliser(sharpness, z_IE, batch, source_BT, candidates)
        ratio = (sharpness * agreement - _in_target_period(log_norm, batch)).exp()
        return KernelState(z_BTE, similarity, eta, log_norm, ratio)

    def mean_shift(
        self,
        state: KernelState,
        z_IE: Tensor,
        batch: HistoryBatch,
        source_BT: Tensor,
        r_BT: Tensor,
        candidates: Candidates,
    ) -> KernelState:
        """Move the centres towards their neighbours and predict again.

        The target t is left out of every centre c_j that predicts it, as are all occurrences of its item. That needs no
        second pass: c_j is linear in its items, and the log-normaliser, convex in the centre, is continued along its
        tangent.
        """
        near = torch.sigmoid(self.log_slope.exp() * (state.similarity_BTT - self.nearness))
        pull = near * batch.mutual_BTT * (r_BT * source_BT * self.log_pull.exp())[:, None, :]
        z, source = state.z_BTE, _as_sources(state.z_BTE)
        h = source + pull @ source
        mass = h[..., -1]
        eta = h * (self._sharpness(mass) / mass)[..., None]
        log_norm, mean = _normaliser(eta, z_IE, batch, source_BT, candidates)
        own = pull if batch.same_item_BTT is None else pull @ batch.same_item_BTT
        self_agreement = (source * z).sum(-1)[:, None, :]
        mass_out = mass[..., None] - own
        scale_out = self._sharpness(mass_out) / mass_out
        tangent = scale_out * ((h * mean).sum(-1)[..., None] - own * (mean @ source.transpose(1, 2)))
        log_norm_out = _in_target_period(log_norm, batch) + tangent - (eta * mean).sum(-1)[..., None]
        # The tangent lies below the log-normaliser, so the ratio can come out too large: bound it.
        log_ratio = scale_out * (h @ z.transpose(1, 2) - own * self_agreement) - log_norm_out
        return KernelState(z, state.similarity_BTT, eta, log_norm, log_ratio.clamp(max=_MAX_LOG_RATIO).exp())

    def ratio(self, kernel_BTT: Tensor, weight_BT: Tensor, mass_BT: Tensor, smoothing: Tensor) -> Tensor:
        """Return the density ratio p(i_t | others) / p_0(i_t) (B, T), smoothed towards 1 by the weight ``smoothing``.

        ``kernel_BTT``: ratios of the sources times their decay; ``mass_BT``: total weight of each target's sources.
        """
        return ((weight_BT[:, None] @ kernel_BTT)[:, 0] + smoothing) / (mass_BT + smoothing)

    def catalogue_ratios(self, state: KernelState, z_IE: Tensor, weight_BT: Tensor) -> Tensor:
        """Return the same ratio for every item of the catalogue (B, I), from the sources weighted by ``weight_BT``."""
        smoothing = self.log_smoothing.exp()
        eta_BTE, log_norm_BT1 = state.eta_BTE, state.log_norm_BTP[..., :1]
        # Never users x history x all items at once; an exported graph does not know the number of users.
        entries = _ENTRIES if z_IE.device.type == "cpu" else _ENTRIES_ON_ACCELERATOR
        size = len(z_IE) if is_exporting() else max(1, entries // max(1, weight_BT.numel()))
        parts = []
        for part_NE in torch.split(z_IE, size):
            dense_BTN = (eta_BTE @ part_NE.T).sub_(log_norm_BT1).clamp_(min=_LEAST_LOG_RATIO).exp_()
            parts.append((weight_BT[:, None] @ dense_BTN)[:, 0])
        total = torch.cat(parts, 1)
        return (total + smoothing) / (weight_BT.sum(1, keepdim=True) + smoothing)

    def _sharpness(self, mass: Tensor) -> Tensor:
        return self.log_sharpness.exp() * (1 + F.softplus(self.growth) * (mass - 1).clamp(min=0))


def _in_target_period(log_norm_BTP: Tensor, batch: HistoryBatch) -> Tensor:
    """Return the log-normalisers of every source in the period of every target (B, T, T)."""
    if log_norm_BTP.shape[-1] == 1:
        return log_norm_BTP
    period_BTT = batch.side_information.period_BT[:, None, :].expand(-1, log_norm_BTP.shape[1], -1)
    return log_norm_BTP.gather(2, period_BTT)


def _as_sources(z_BTE: Tensor) -> Tensor:
    """Return targets (z, -|z|^2 / 2) as sources (z, 1)."""
    return torch.cat([z_BTE[..., :-1], torch.ones_like(z_BTE[..., -1:])], -1)


def _item_normaliser(
    sharpness: Tensor, z_IE: Tensor, batch: HistoryBatch, source_BT: Tensor, candidates: Candidates
) -> Tensor:
    """Return :func:`_normaliser` (B, T, P) of sources that are centred on their own item, once for each such item."""
    items_BT = batch.items_BT
    if is_exporting():
        eta_BTE = sharpness * _as_sources(F.embedding(items_BT, z_IE))
        return _normaliser_for_export(eta_BTE, z_IE, items_BT, source_BT, candidates)[0]
    if batch.static_shapes:
        eta_BTE = sharpness * _as_sources(F.embedding(items_BT, z_IE))
        return _normaliser_of_all(eta_BTE, z_IE, items_BT, source_BT, candidates, with_mean=False)[0]
    row = torch.nonzero(source_BT.flatten() > 0)[:, 0]
    item_S, index_R = items_BT.flatten()[row].unique(return_inverse=True)  # type: ignore[no-untyped-call]
    log_norm_SP, _ = log_normaliser(
        sharpness * _as_sources(F.embedding(item_S, z_IE)),
        z_IE[candidates.items_N],
        candidates.log_weight_N,
        candidates.index_I[item_S],
        candidates.period_NP,
        with_mean=False,
    )
    periods = candidates.period_NP.shape[1]
    log_norm = z_IE.new_full((source_BT.numel(), periods), _NOT_A_SOURCE)
    return log_norm.index_put((row,), F.embedding(index_R, log_norm_SP)).view(*source_BT.shape, periods)


def _normaliser(
    eta_BTE: Tensor, z_IE: Tensor, batch: HistoryBatch, source_BT: Tensor, candidates: Candidates
) -> tuple[Tensor, Tensor]:
    """Return log sum_i p_p(i) exp<eta, z_i> (B, T, P) over the candidates, and the mean of z (B, T, E).

    The mean is under the popularity of all periods. A source's own item is left out: it cannot be chosen again. Periods
    in which the user has no interaction may be left out.
    """
    items_BT, periods = batch.items_BT, candidates.period_NP.shape[1]
    if is_exporting():
        return _normaliser_for_export(eta_BTE, z_IE, items_BT, source_BT, candidates)
    if batch.static_shapes:
        return _normaliser_of_all(eta_BTE, z_IE, items_BT, source_BT, candidates)
    row = torch.nonzero(source_BT.flatten() > 0)[:, 0]
    used_RP = None
    if periods > 1:  # few rows at a time, of which each history uses few periods
        used_BP = torch.zeros(len(items_BT), periods, dtype=torch.bool)
        used_RP = used_BP.scatter_(1, batch.side_information.period_BT, True)[row // items_BT.shape[1]]
    log_norm_RP, mean_RE = log_normaliser(
        eta_BTE.flatten(0, 1)[row],
        z_IE[candidates.items_N],
        candidates.log_weight_N,
        candidates.index_I[items_BT.flatten()[row]],
        candidates.period_NP,
        used_RP=used_RP,
    )
    log_norm = eta_BTE.new_full((source_BT.numel(), periods), _NOT_A_SOURCE).index_put((row,), log_norm_RP)
    mean = torch.zeros_like(eta_BTE).flatten(0, 1).index_put((row,), mean_RE)
    return log_norm.view(*source_BT.shape, periods), mean.view_as(eta_BTE)


def _normaliser_of_all(
    eta_BTE: Tensor,
    z_IE: Tensor,
    items_BT: Tensor,
    source_BT: Tensor,
    candidates: Candidates,
    *,
    with_mean: bool = True,
) -> tuple[Tensor, Tensor]:
    """Return the same of all positions, sources or not: no choice of rows by content."""
    log_norm_RP, mean_RE = log_normaliser(
        eta_BTE.flatten(0, 1),
        z_IE[candidates.items_N],
        candidates.log_weight_N,
        candidates.index_I[items_BT.flatten()],
        candidates.period_NP,
        with_mean=with_mean,
    )
    source_BT1 = source_BT[..., None] > 0
    log_norm_BTP = log_norm_RP.view(*source_BT.shape, -1).where(source_BT1, _NOT_A_SOURCE)
    return log_norm_BTP, mean_RE.view_as(eta_BTE) * source_BT1 if with_mean else mean_RE


def _normaliser_for_export(
    eta_BTE: Tensor, z_IE: Tensor, items_BT: Tensor, source_BT: Tensor, candidates: Candidates
) -> tuple[Tensor, Tensor]:
    """Return the same from operators that a graph can hold: no choice of rows by content, no gradient of our own."""
    z_NE = z_IE[candidates.items_N]
    own = candidates.index_I[items_BT][..., None] == torch.arange(len(z_NE), device=z_NE.device)
    logits = (eta_BTE @ z_NE.T + candidates.log_weight_N).masked_fill(own, -_NOT_A_SOURCE)
    source = source_BT > 0
    log_norm = torch.where(source, logits.logsumexp(-1), _NOT_A_SOURCE)
    return log_norm[..., None], torch.softmax(logits, -1) @ z_NE * source[..., None]
