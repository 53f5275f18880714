"""The denoiser: what caused each interaction, inferred from all the others of the same user.

An interaction is caused by one modality, by two at once, or by none that we see (then popularity explains it):

    p(i | u, t) / p_0(i) = pi_0 + pi_1 sum_m pi_ut^m rho^m + pi_2 sum_{m<n} pi_ut^mn rho^m rho^n

with rho^m the density ratio of channel m (``demure.model.channel``) and pi_ut^m the user's reliance on m, the smoothed
count of responsibilities over the other interactions. The responsibility r^m is the posterior that m was among the
causes, a Bernoulli probability for each modality: two can be high, or none. Responsibilities weigh the history that the
channels see, so both are found together, by fixed-point iteration (EM for the mixture; CVB0 for reliance and themes).

The modalities of an item are not independent, so rho^m rho^n is no density by itself: what makes it one is how often
the themes of the one meet those of the other in an item (``_meeting``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor, nn

from demure.model.channel import Channel, Opened, View
from demure.model.context import Context
from demure.model.latent import Latent
from demure.model.themes import Themes, start_themes

OFFSET_SD = 0.15
"""Standard deviation of the items' offsets."""
_MEETING = 0.05  # share of meetings that are as if by chance
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
    """``r_BTM`` responsibilities, ``ratio_BTM`` density ratios, ``total_BT`` p(i)/p_0(i) of the mixture, ``none_BT``
    the posterior that there was no cause that we see."""

    r_BTM: Tensor
    ratio_BTM: Tensor
    total_BT: Tensor
    none_BT: Tensor
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
        """Where items differ from what their features say, for each modality."""
        return [c.points.offset_ID for c in self.experts()]

    def learn_offsets(self) -> None:
        """From now on the offsets are learned, and nothing else."""
        self.requires_grad_(False)
        for offset in self.offsets():
            offset.requires_grad_(True)

    def surprise(self, interactions: int) -> Tensor:
        """-log of the prior per training interaction, nats, but for a constant: Gaussian for the offsets, Dirichlet for
        the shares of causes. Whether an unexplained choice had no cause or one that the history does not show, the
        likelihood hardly tells: the prior settles it."""
        learned = [offset for offset in self.offsets() if offset.requires_grad]  # else 0, all of it
        parts = [offset.square().sum() / (2 * OFFSET_SD**2) for offset in learned] or [self.popularity_I.new_zeros(())]
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

    def infer(self, context: Context, views: list[View], own: Sequence[Tensor | None] | None = None) -> Inferred:
        """Responsibilities of every position of the batch given the known others; targets get theirs without being
        evidence for anything. ``own``: for each modality what the positions themselves have told of their items, as
        :meth:`says` gives it, to be left out (B, T, C)."""
        experts = self.experts()
        apart = own or [None] * len(experts)
        opened = [c.open(view, context, said) for c, view, said in zip(experts, views, apart, strict=True)]
        meeting = self._meeting(views)
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
                met = self._met(meeting, [state.shares.share_BTC for state in opened], present)
                r, total = self.posterior(ratio, self.reliance(r, context), present, met)
            if phase == 0:
                weights = self._evidence(r, present)
                for m, (channel, state, view) in enumerate(zip(experts, opened, views, strict=True)):
                    channel.shift(state, view, context, weights[..., m])
        return Inferred(r, ratio, total, torch.softmax(self.causes, 0)[0] / total, opened)

    def says(self, found: Inferred, views: list[View]) -> list[Tensor]:
        """For each modality what every position tells of its item's theme (B, T, C); see ``Channel.says``."""
        asked = enumerate(zip(self.experts(), found.opened, views, strict=True))
        return [c.says(state, view, found.ratio_BTM[..., m], found.r_BTM[..., m]) for m, (c, state, view) in asked]

    def by_content(self, found: Inferred, views: list[View], context: Context) -> Tensor:
        """``ratio_BTM`` by the targets' own features alone; see ``Channel.by_content``."""
        asked = enumerate(zip(self.experts(), found.opened, views, strict=True))
        return torch.stack([c.by_content(s, view, context, found.ratio_BTM[..., m]) for m, (c, s, view) in asked], -1)

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

    def _meeting(self, views: list[View]) -> list[Tensor]:
        """For each pair of modalities P(c) P(d) / P(c, d) over the items that have both, (C, D): how much rarer than by
        chance themes c and d meet in an item. Few meet by chance where popular items are few."""
        found = []
        for a, b in self.pairs:
            both_I = views[a].weight_I * views[b].present_I
            joint_CD = (views[a].q_IC * both_I[:, None]).T @ views[b].q_IC / both_I.sum().clamp(min=1e-9)
            chance_CD = joint_CD.sum(1, keepdim=True) * joint_CD.sum(0)
            found.append(chance_CD / ((1 - _MEETING) * joint_CD + _MEETING * chance_CD).clamp(min=1e-12))
        return found

    def _met(self, meeting: list[Tensor], themes: list[Tensor], present_BTM: Tensor) -> list[Tensor]:
        """What makes rho^m rho^n of each pair a density, (B, T): ``meeting`` of the themes (B, T, C) that each position
        is thought to be chosen by."""
        pairs = zip(self.pairs, meeting, strict=False)
        return [self._as_far(a, b, ((themes[a] @ by_CD) * themes[b]).sum(-1), present_BTM) for (a, b), by_CD in pairs]

    def _as_far(self, a: int, b: int, factor: Tensor, present: Tensor) -> Tensor:
        """``factor`` as far as themes speak for both channels; 1 where a modality is missing."""
        experts = self.experts()
        part = torch.sigmoid(-experts[a].gate) * torch.sigmoid(-experts[b].gate) * present[..., a] * present[..., b]
        return 1 + part * (factor - 1)

    def posterior(
        self,
        ratio_BTM: Tensor,
        reliance_BTM: Tensor,
        present_BTM: Tensor,
        met: Sequence[Tensor] = (),
    ) -> tuple[Tensor, Tensor]:
        """Probability of each modality to be among the causes (B, T, M), and p(i)/p_0(i) (B, T). ``met`` is a
        factor (B, T) for each pair of causes, 1 if not given."""
        none, one, two = torch.softmax(self.causes, 0)
        single = one * reliance_BTM * ratio_BTM
        total = none + single.sum(-1)
        among = single
        if self.pairs:
            first, second = (torch.tensor(side, device=single.device) for side in zip(*self.pairs, strict=True))
            share = reliance_BTM[..., first] * reliance_BTM[..., second]
            share = share / share.sum(-1, keepdim=True).clamp(min=1e-9)
            joint = two * share * ratio_BTM[..., first] * ratio_BTM[..., second]
            joint = joint * torch.stack(list(met), -1) if met else joint
            total = total + joint.sum(-1)
            among = among.index_add(-1, first, joint).index_add(-1, second, joint)
        else:
            total = total + two
        return among / total[..., None] * present_BTM, total

    def log_likelihood(
        self, context: Context, views: list[View], own: Sequence[Tensor | None] | None = None
    ) -> tuple[Tensor, Tensor]:
        """log p(i_t)/p_0(i_t) of the held-out positions (valid, not known), flat, and the positions' mask (B, T);
        ``own`` as for :meth:`infer`."""
        held = (context.valid_BT > 0) & (context.known_BT == 0)
        return self.infer(context, views, own).total_BT[held].clamp(min=1e-12).log(), held

    def over_catalogue(self, context: Context, views: list[View]) -> tuple[Tensor, Tensor]:
        """p(i | history) / p_0(i) for every item (B, I), and the terms of the single causes (B, M, I)."""
        found = self.infer(context, views)
        weights = self.weights(found)
        ratios, densities = zip(
            *(
                channel.over_catalogue(state, view, context, weights[..., m])
                for m, (channel, state, view) in enumerate(zip(self.experts(), found.opened, views, strict=True))
            ),
            strict=True,
        )
        ratio_BIM = torch.stack(ratios, -1)
        prior = self.log_reliance.exp()
        differ = float(self.shape.denoise and self.shape.reliance)
        counts = (found.r_BTM * context.known_BT[..., None]).sum(1) * differ + prior
        reliance_BIM = (counts / counts.sum(-1, keepdim=True))[:, None, :].expand_as(ratio_BIM)
        present_IM = torch.stack([view.present_I for view in views], -1)
        met = self._met_over_catalogue(densities, views, present_IM)
        r_BIM, total_BI = self.posterior(ratio_BIM, reliance_BIM, torch.ones_like(ratio_BIM), met)
        return total_BI, (r_BIM * total_BI[..., None]).transpose(1, 2)

    def _met_over_catalogue(self, densities: Sequence[Tensor], views: list[View], present_IM: Tensor) -> list[Tensor]:
        """:meth:`_met` for every item (B, I): the mean of the meeting over the themes that it would be chosen by, given
        what the history makes of each theme (B, C) of each modality."""
        met = []
        for (a, b), meeting_CD in zip(self.pairs, self._meeting(views), strict=False):
            chance_BCD = densities[a][:, :, None] * densities[b][:, None, :]
            weighed_BI, chance_BI = (
                # theme by theme: never users x items x themes
                sum(of_BCD[:, :, d] @ views[a].q_IC.T * theme_I for d, theme_I in enumerate(views[b].q_IC.T))
                for of_BCD in (chance_BCD * meeting_CD, chance_BCD)
            )
            met.append(self._as_far(a, b, weighed_BI / chance_BI.clamp(min=1e-9), present_IM))
        return met
