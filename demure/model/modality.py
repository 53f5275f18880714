"""One modality: its latent space, its two kinds of expert, and the gate that weighs them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from demure.model.batch import Context
from demure.model.clusters import Shares, Themes, theme_space
from demure.model.kernel import Candidates, Points, Seeds
from demure.model.latent import Latent


@dataclass(frozen=True)
class View:
    """What a channel knows of all items under its present parameters; ``candidates`` stand for the catalogue in a
    softmax; ``prior_GC`` mean of ``q_IC`` in every period; ``share`` of the choices fall on items with the modality,
    ``weight_I`` how those divide. I may be no more
    than the items at hand, ``present_I`` says which of them have the modality."""

    present_I: Tensor
    z_IE: Tensor
    q_IC: Tensor
    prior_GC: Tensor
    candidates: Candidates
    share: Tensor
    weight_I: Tensor


@dataclass
class Opened:
    """A channel's state on one batch; ``decay_BTT`` weighs a source (middle) for a target (last), ``kernel_BTT`` times
    the seed's density ratio."""

    present_BT: Tensor
    decay_BTT: Tensor
    seeds: Seeds
    kernel_BTT: Tensor
    shares: Shares


class Channel(nn.Module):
    """Density ratios of one modality. ``ordered``: let the weight of a source fall with its distance in steps."""

    coordinates_ID: Tensor
    themes_ID: Tensor
    present_I: Tensor

    def __init__(self, latent: Latent, themes: Themes, *, ordered: bool) -> None:
        super().__init__()
        self.register_buffer("coordinates_ID", torch.as_tensor(latent.coordinates))
        self.register_buffer("themes_ID", torch.as_tensor(theme_space(latent.coordinates, latent.spread)))
        self.register_buffer("present_I", torch.as_tensor(latent.present, dtype=torch.float32))
        self.points = Points(latent.spread, len(latent.coordinates))
        self.themes = themes
        self.gate = nn.Parameter(torch.tensor(0.0))
        self.absence = nn.Parameter(torch.tensor(0.0))
        self.fading = nn.Parameter(torch.tensor(-3.0), requires_grad=ordered)
        self.ordered = ordered

    def candidates(
        self, popularity_I: Tensor, count: int, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Items to stand for the catalogue and their log-weights, (N,) each, and the share of the choices that fall on
        items with the modality. ``popularity_I`` sums to 1. All present items are candidates, or ``count`` of them
        drawn by the square root of their popularity and corrected for it (logQ) where a ``generator`` is given."""
        own = popularity_I * self.present_I
        share = own.sum().clamp(min=1e-6)
        own = own / share
        if generator is not None and count < int(self.present_I.sum()):
            proposal = own.sqrt()
            chosen = torch.multinomial(proposal.to(generator.device), count, generator=generator).to(own.device)
            return chosen, own[chosen].log() - proposal[chosen].log(), share
        chosen = torch.where(own > 0)[0]
        return chosen, own[chosen].log(), share

    def view(self, popularity_I: Tensor, count: int, generator: torch.Generator | None, period_IG: Tensor) -> View:
        """All items, with the :meth:`candidates` asked for; ``period_IG`` as ``Denoiser.period_IG``."""
        chosen, log_weight, share = self.candidates(popularity_I, count, generator)
        own = popularity_I * self.present_I / share
        by_period = own[:, None] * period_IG
        q_IC, prior_GC = self.themes.memberships(self.themes_ID, by_period / by_period.sum(0).clamp(min=1e-9))
        z_IE = self.points.embed(self.coordinates_ID, self.present_I)
        candidates = Candidates.of(chosen, log_weight, len(own), period_IG[chosen])
        return View(self.present_I, z_IE, q_IC, prior_GC, candidates, share, own)

    def view_of(self, rows_N: Tensor, chosen: Tensor, log_weight: Tensor, share: Tensor, period_IG: Tensor) -> View:
        """The items ``rows_N`` alone, numbered from 0, with candidates among them. They have no offsets, and what is a
        mean over all items comes from the candidates."""
        present = self.present_I[rows_N]
        candidates = Candidates.of(torch.searchsorted(rows_N, chosen), log_weight, len(rows_N), period_IG[chosen])
        z_NE = self.points.embed_some(self.coordinates_ID[rows_N], present, self._mean_square_D)
        weight_N = torch.zeros_like(present).index_put((candidates.items_N,), candidates.log_weight_N.exp())
        by_period = torch.zeros(len(rows_N), period_IG.shape[1], device=weight_N.device)
        by_period[candidates.items_N] = candidates.log_weight_N.exp()[:, None] * candidates.period_NG
        q_NC, prior_GC = self.themes.memberships_some(self.themes_ID[rows_N], by_period)
        return View(present, z_NE, q_NC, prior_GC, candidates, share, weight_N)

    @cached_property
    def _mean_square_D(self) -> Tensor:
        return self.coordinates_ID.square().sum(0) / self.present_I.sum().clamp(min=1)

    def open(self, view: View, context: Context, own_BTC: Tensor | None = None) -> Opened:
        """Start on a batch: seeds and shares from each item alone; ``own_BTC`` as for :meth:`Themes.open`."""
        present = view.present_I[context.items_BT] * context.valid_BT
        decay = (-F.softplus(self.fading) * context.log_gap_BTT).exp() * context.reach_BTT
        seeds = self.points.open(view.z_IE, context, present * context.known_BT, view.candidates)
        shares = self.themes.open(view.q_IC, view.prior_GC, context, own_BTC)
        return Opened(present, decay, seeds, decay * seeds.ratio_BTT, shares)

    def ratio(self, opened: Opened, view: View, context: Context, r_BT: Tensor) -> Tensor:
        """p_m(i_t | others) / p_0(i_t) (B, T), with the others counted by their responsibilities ``r_BT``.

        A target without the modality gets the constant of :meth:`_complete`. Updates ``opened.shares``.
        """
        weight_BT = r_BT * context.known_BT * opened.present_BT
        mass_BT = (weight_BT[:, None] @ opened.decay_BTT)[:, 0]
        gate = torch.sigmoid(self.gate)
        points = self.points.ratio(opened.kernel_BTT, weight_BT, mass_BT)
        themes, opened.shares = self.themes.ratio(opened.shares, opened.decay_BTT, weight_BT, mass_BT)
        return self._complete(gate * points + (1 - gate) * themes, opened.present_BT, view)

    def says(self, opened: Opened, view: View, ratio_BT: Tensor, r_BT: Tensor) -> Tensor:
        """What a choice tells of its item's theme (B, T, C): log p(choice | the item is of theme c), plus a constant.

        The mixture is linear in the channel's ratio rho, and r its part: log(1 - r + r rho_c / rho), with rho_c the
        ratio that an item of theme c alone would have. 0 where the modality is missing.
        """
        density_BTC = opened.shares.density_BTC
        assert density_BTC is not None  # asked after `ratio`
        themes_BT1 = (density_BTC * opened.shares.affinity_BTC * opened.shares.prior_BTC).sum(-1, keepdim=True)
        change_BTC = (1 - torch.sigmoid(self.gate)) * self._scale(view) * (density_BTC - themes_BT1)
        among_BT1 = (r_BT / ratio_BT.clamp(min=1e-9))[..., None]
        said_BTC = (1 + among_BT1 * change_BTC).clamp(min=1e-9).log()
        return (said_BTC - said_BTC.mean(-1, keepdim=True)) * opened.present_BT[..., None]

    def by_content(self, opened: Opened, view: View, context: Context, ratio_BT: Tensor) -> Tensor:
        """``ratio_BT`` as it would be had nobody said anything of the targets themselves: by their own features alone,
        while what is known of the other items stays. What users made up for is no evidence for the content."""
        density_BTC = opened.shares.density_BTC
        assert density_BTC is not None  # asked after `ratio`
        by_features_BTC = self.themes.by_features(self.themes_ID[context.items_BT])
        heard_BTC = opened.shares.affinity_BTC * opened.shares.prior_BTC
        change_BT = (density_BTC * (by_features_BTC - heard_BTC)).sum(-1)
        scale = (1 - torch.sigmoid(self.gate)) * self._scale(view)
        return (ratio_BT + scale * change_BT * opened.present_BT).clamp(min=0.0)

    def shift(self, opened: Opened, view: View, context: Context, r_BT: Tensor) -> None:
        """Move the seeds by what is now believed of the history."""
        source = opened.present_BT * context.known_BT
        opened.seeds = self.points.shift(opened.seeds, view.z_IE, context, source, r_BT, view.candidates)
        opened.kernel_BTT = opened.decay_BTT * opened.seeds.ratio_BTT

    def contributions(self, opened: Opened, context: Context, r_BT: Tensor) -> Tensor:
        """Share (B, T, T) of each source (middle) in the density that the channel gives each target (last); sums to at
        most 1 over the sources, the rest being the smoothing's."""
        weight_BTT = opened.decay_BTT * (r_BT * context.known_BT * opened.present_BT)[..., None]
        gate = torch.sigmoid(self.gate)
        pairs_BTT = gate * opened.seeds.ratio_BTT
        pairs_BTT = pairs_BTT + (1 - gate) * opened.shares.share_BTC @ opened.shares.affinity_BTC.transpose(1, 2)
        parts_BTT = weight_BTT * pairs_BTT * opened.present_BT[:, None, :]
        return parts_BTT / (parts_BTT.sum(1, keepdim=True) + self.points.log_smoothing.exp())

    def over_catalogue(self, opened: Opened, view: View, context: Context, r_BT: Tensor) -> tuple[Tensor, Tensor]:
        """p_m(i | history) / p_0(i) for all items (B, I), and theta_c / qbar_c, what the history makes of each theme
        (B, C)."""
        fading = (-F.softplus(self.fading) * context.log_age_BT).exp() if self.ordered else 1.0
        weight_BT = r_BT * context.known_BT * opened.present_BT * fading
        gate = torch.sigmoid(self.gate)
        points = self.points.over_catalogue(opened.seeds, view.z_IE, weight_BT)
        density_BC = self.themes.density(opened.shares, view.prior_GC[0], weight_BT)
        ratio = gate * points + (1 - gate) * (density_BC @ view.q_IC.T)
        return self._complete(ratio, self.present_I, view), density_BC

    def _complete(self, ratio: Tensor, present: Tensor, view: View) -> Tensor:
        """Give items without the modality a constant ratio, so that the whole stays a density.

        Between 0 (what is not there causes nothing) and 1 (it is there for the user, only hidden from us): which of the
        two holds differs by data set and is learned.
        """
        return torch.where(present > 0, ratio * self._scale(view), torch.sigmoid(self.absence))

    def _scale(self, view: View) -> Tensor:
        return (1 - torch.sigmoid(self.absence) * (1 - view.share)) / view.share
