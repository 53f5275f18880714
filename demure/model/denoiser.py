"""The denoiser: what caused each interaction, inferred from all the others of the same user.

An interaction is caused by one modality, by two at once, or by none that we see (then popularity explains it):

    p(i | u, t) / p_0(i) = pi_0 + pi_1 sum_m pi_ut^m rho^m + pi_2 sum_{m<n} pi_ut^mn rho^m rho^n

with rho^m the density ratio of channel m (``demure.model.channel``) and pi_ut^m the user's reliance on m, the smoothed
count of responsibilities over the other interactions. The responsibility r^m is the posterior that m was among the
causes, a Bernoulli probability for each modality: two can be high, or none. Responsibilities weigh the history that the
channels see, so both are found together, by fixed-point iteration (EM for the mixture; CVB0 for reliance and themes).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, cycle

import numpy as np
import torch
from torch import Tensor, nn

from demure.model.channel import Channel, Opened, View
from demure.model.context import Context
from demure.model.latent import Latent
from demure.model.themes import Themes, start_themes

OFFSET_SD = (0.15, 1.0)
"""Standard deviations of the items' offsets: of their coordinates, and of their theme logits."""
CAUSES, CAUSES_WORTH = (0.07, 0.92, 0.01), 0.06
"""Prior shares of interactions with no, one and two causes, and what the prior is worth, a share of the data."""
LARGE = 50_000
"""Items above which nothing goes over the whole catalogue in a step; see docs/training.md."""
_FIRST_CAUSES = (0.05, 0.9, 0.05)
_FIXED = 8_000


@dataclass(frozen=True)
class Shape:
    """What is fixed before learning. ``rounds`` fixed-point steps before and after the seeds move; with ``denoise`` off
    every modality of every interaction counts in full and users do not differ in reliance.

    For ablations: with ``reliance`` off users do not differ either, but interactions are weighed; ``exclusive`` allows
    no two causes at once; ``hard`` counts the likeliest modality as evidence, in full, and no other; ``causal`` lets
    only the past speak for an interaction."""

    themes: int = 16
    rounds: int = 5
    candidates: int = 800
    denoise: bool = True
    reliance: bool = True
    exclusive: bool = False
    hard: bool = False
    causal: bool = False


@dataclass
class Inferred:
    """``r_BTM`` responsibilities, ``ratio_BTM`` density ratios, ``total_BT`` p(i)/p_0(i) of the mixture."""

    r_BTM: Tensor
    ratio_BTM: Tensor
    total_BT: Tensor
    opened: list[Opened]


class Denoiser(nn.Module):
    """The mixture over modalities. ``latents`` and ``themes`` by name; ``popularity`` (I,) counts of the training
    interactions. :meth:`start` makes one to be trained, :meth:`restore` one from its tensors."""

    popularity_I: Tensor

    def __init__(
        self,
        latents: Mapping[str, Latent],
        themes: Mapping[str, Themes],
        popularity: np.ndarray,
        shape: Shape,
        *,
        ordered: bool,
    ) -> None:
        super().__init__()
        self.names = list(latents)
        self.shape = shape
        self.ordered = ordered
        self.channels = nn.ModuleDict(
            {f"m{k}": Channel(latents[name], themes[name], ordered=ordered) for k, name in enumerate(self.names)}
        )
        smoothed = torch.as_tensor(popularity, dtype=torch.float32) + 1.0
        self.register_buffer("popularity_I", smoothed / smoothed.sum())
        self.pairs = [] if shape.exclusive else list(combinations(range(len(self.names)), 2))
        possible = torch.tensor([1.0, 1.0, 1.0 if self.pairs else 1e-8])
        self.causes = nn.Parameter((torch.tensor(_FIRST_CAUSES) * possible).log())
        self.log_reliance = nn.Parameter(torch.full((len(self.names),), math.log(0.5)))

    @classmethod
    def start(
        cls, latents: Mapping[str, Latent], popularity: np.ndarray, shape: Shape, *, ordered: bool, seed: int
    ) -> Denoiser:
        """Before training: pretrained geometry as it is, themes from k-means."""
        themes = {
            name: start_themes(latent.coordinates, latent.spread, latent.present, shape.themes, seed)
            for name, latent in latents.items()
        }
        return cls(latents, themes, popularity, shape, ordered=ordered)

    @classmethod
    def restore(cls, tensors: Mapping[str, Tensor], names: Sequence[str], shape: Shape, *, ordered: bool) -> Denoiser:
        """From the ``state_dict`` of a trained one."""
        latents, themes = {}, {}
        for k, name in enumerate(names):
            coordinates = tensors[f"channels.m{k}.coordinates_ID"]
            latents[name] = Latent(
                coordinates.numpy(),
                np.ones(coordinates.shape[1], np.float32),
                tensors[f"channels.m{k}.present_I"].numpy() > 0,
            )
            centres = np.zeros(tuple(tensors[f"channels.m{k}.themes.weight"].shape), np.float32)
            themes[name] = Themes(centres, 1.0, len(coordinates))
        made = cls(latents, themes, np.zeros(len(tensors["popularity_I"])), shape, ordered=ordered)
        made.load_state_dict(dict(tensors))
        return made

    def experts(self) -> list[Channel]:
        """The channels in the order of ``names``."""
        return [channel for channel in self.channels.values() if isinstance(channel, Channel)]

    def offsets(self) -> list[nn.Parameter]:
        """Where items differ from what their features say: of the points, then of the themes, for each modality."""
        return [offset for c in self.experts() for offset in (c.points.offset_ID, c.themes.offset_IC)]

    def learn_offsets(self) -> None:
        """From now on the offsets are learned, and nothing else."""
        self.requires_grad_(False)
        for offset in self.offsets():
            offset.requires_grad_(True)

    def surprise(self, interactions: int) -> Tensor:
        """-log of the prior per training interaction, nats, but for a constant: Gaussian for the offsets, Dirichlet for
        the shares of causes. Whether an unexplained choice had no cause or one that the history does not show, the
        likelihood hardly tells: the prior settles it."""
        learned = [pair for pair in zip(self.offsets(), cycle(OFFSET_SD)) if pair[0].requires_grad]  # else 0, all of it
        parts = [offset.square().sum() / (2 * sd**2) for offset, sd in learned] or [self.popularity_I.new_zeros(())]
        shares = torch.log_softmax(self.causes, 0)[: 3 if self.pairs else 2]
        causes = sum(share * told for share, told in zip(CAUSES, shares, strict=False))
        return torch.stack(parts).sum() / interactions - CAUSES_WORTH * causes

    @property
    def large(self) -> bool:
        """Whether there are so many items that no step may go over all of them: what is summed over the catalogue is
        then estimated from candidates, and items have no offsets of their own."""
        return len(self.popularity_I) > LARGE

    def views(self, generator: torch.Generator | None = None) -> list[View]:
        """What every channel knows of all items; with a ``generator``, softmaxes run over sampled candidates.

        Without one they run over all items or, where these are more than ``LARGE``, over ``_FIXED`` of them, always the
        same.
        """
        candidates = self.shape.candidates
        if generator is None and self.large:
            generator, candidates = torch.Generator().manual_seed(0), min(_FIXED, LARGE)
        return [c.view(self.popularity_I, candidates, generator) for c in self.experts()]

    def views_for(self, items_BT: np.ndarray, generator: torch.Generator) -> tuple[list[View], np.ndarray]:
        """Views with sampled candidates to learn from a batch of histories (B, T), and the batch as these number it.

        Where the catalogue is large they hold no more than the items of the batch and the candidates.
        """
        if not self.large:
            return self.views(generator), items_BT
        experts = self.experts()
        drawn = [c.candidates(self.popularity_I, self.shape.candidates, generator) for c in experts]
        seen = torch.as_tensor(items_BT[items_BT >= 0]).to(self.popularity_I.device)
        rows, place = torch.cat([seen, *(found for found, _, _ in drawn)]).unique(return_inverse=True)
        numbered = items_BT.copy()
        numbered[items_BT >= 0] = place[: len(seen)].cpu().numpy()
        return [c.view_of(rows, *found) for c, found in zip(experts, drawn, strict=True)], numbered

    def context(self, items_BT: Tensor, known_BT: Tensor | None = None) -> Context:
        """Histories (B, T) padded with -1 as this model reads them."""
        return Context.of(items_BT, known_BT, ordered=self.ordered, causal=self.shape.causal)

    def infer(self, context: Context, views: list[View]) -> Inferred:
        """Responsibilities of every position of the batch given the known others; targets get theirs without being
        evidence for anything."""
        experts = self.experts()
        opened = [channel.open(view, context) for channel, view in zip(experts, views, strict=True)]
        present = torch.stack([state.present_BT for state in opened], -1)
        prior = present / max(len(experts), 1) if self.shape.denoise else present
        r, ratio, total = prior, present, present.sum(-1)
        rounds = self.shape.rounds if self.shape.denoise else 1
        for phase in range(2):
            for _ in range(rounds):
                weights = self._evidence(r, present)
                ratio = torch.stack(
                    [
                        channel.ratio(state, view, context, weights[..., m])
                        for m, (channel, state, view) in enumerate(zip(experts, opened, views, strict=True))
                    ],
                    -1,
                )
                r, total = self.posterior(ratio, self.reliance(r, context), present)
            if phase == 0:
                weights = self._evidence(r, present)
                for m, (channel, state, view) in enumerate(zip(experts, opened, views, strict=True)):
                    channel.shift(state, view, context, weights[..., m])
        return Inferred(r, ratio, total, opened)

    def weights(self, found: Inferred) -> Tensor:
        """How much each modality of each position counts as evidence (B, T, M)."""
        return self._evidence(found.r_BTM, torch.stack([state.present_BT for state in found.opened], -1))

    def _evidence(self, r_BTM: Tensor, present_BTM: Tensor) -> Tensor:
        if not self.shape.denoise:
            return present_BTM
        return (r_BTM == r_BTM.amax(-1, keepdim=True)) * present_BTM if self.shape.hard else r_BTM

    def reliance(self, r_BTM: Tensor, context: Context) -> Tensor:
        """pi_ut (B, T, M): smoothed mean of the responsibilities of the positions that reach t, with a learned
        prior."""
        prior = self.log_reliance.exp()
        if not (self.shape.denoise and self.shape.reliance):
            return (prior / prior.sum()).expand_as(r_BTM)
        counts = torch.einsum("bjt,bjm->btm", context.reach_BTT, r_BTM) + prior
        return counts / counts.sum(-1, keepdim=True)

    def posterior(self, ratio_BTM: Tensor, reliance_BTM: Tensor, present_BTM: Tensor) -> tuple[Tensor, Tensor]:
        """Probability of each modality to be among the causes (B, T, M), and p(i)/p_0(i) (B, T)."""
        none, one, two = torch.softmax(self.causes, 0)
        single = one * reliance_BTM * ratio_BTM
        total = none + single.sum(-1)
        among = single
        if self.pairs:
            first, second = (torch.tensor(side, device=single.device) for side in zip(*self.pairs, strict=True))
            share = reliance_BTM[..., first] * reliance_BTM[..., second]
            share = share / share.sum(-1, keepdim=True).clamp(min=1e-9)
            joint = two * share * ratio_BTM[..., first] * ratio_BTM[..., second]
            total = total + joint.sum(-1)
            among = among.index_add(-1, first, joint).index_add(-1, second, joint)
        else:
            total = total + two
        return among / total[..., None] * present_BTM, total

    def log_likelihood(self, context: Context, views: list[View]) -> tuple[Tensor, Tensor]:
        """log p(i_t)/p_0(i_t) of the held-out positions (valid, not known), flat, and the positions' mask (B, T)."""
        held = (context.valid_BT > 0) & (context.known_BT == 0)
        return self.infer(context, views).total_BT[held].clamp(min=1e-12).log(), held

    def over_catalogue(self, context: Context, views: list[View]) -> tuple[Tensor, Tensor]:
        """p(i | history) / p_0(i) for every item (B, I), and the terms of the single causes (B, M, I)."""
        found = self.infer(context, views)
        weights = self.weights(found)
        ratio_BIM = torch.stack(
            [
                channel.over_catalogue(state, view, context, weights[..., m])
                for m, (channel, state, view) in enumerate(zip(self.experts(), found.opened, views, strict=True))
            ],
            -1,
        )
        prior = self.log_reliance.exp()
        differ = float(self.shape.denoise and self.shape.reliance)
        counts = (found.r_BTM * context.known_BT[..., None]).sum(1) * differ + prior
        reliance_BIM = (counts / counts.sum(-1, keepdim=True))[:, None, :].expand_as(ratio_BIM)
        r_BIM, total_BI = self.posterior(ratio_BIM, reliance_BIM, torch.ones_like(ratio_BIM))
        return total_BI, (r_BIM * total_BI[..., None]).transpose(1, 2)
