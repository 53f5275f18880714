"""The denoiser: what caused each interaction, inferred from all the others of the same user.

An interaction is caused by popularity, by a rival of content, by one modality, or by two at once:

    p(i | u, t) / p_t(i) = sum_r pi^r rho^r + (1 - delta) sum_m pi^m rho^m + delta pi^+ sum_{m<n} pi^mn rho^m rho^n

p_t is the popularity at the time of the interaction, rho^r the density ratio of rival r to it (popularity's own
choices, transitions, taste), rho^m that of modality m (``demure.model.modality``), pi^+ = sum_m pi^m, pi^mn the
normalised products of pi^m and pi^n. All pi are the user's: smoothed counts of responsibilities over the other
interactions. The responsibility r^m is the posterior that m was among the causes, a Bernoulli probability for each
modality: two can be high, or none. Responsibilities weigh the history that the channels see, so both are found
together, by fixed-point iteration (EM for the mixture; CVB0 for reliance and themes).

The modalities of an item are not independent, so rho^m rho^n is no density by itself: what makes it one is how often
the themes of the one meet those of the other in an item (``_meeting``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor, nn

from demure.model.batch import Beside, Context
from demure.model.clusters import Themes, start_themes
from demure.model.latent import Latent
from demure.model.modality import Channel, Opened, View

OFFSET_SD = 0.15
"""Standard deviation of the items' offsets."""
_MEETING = 0.05  # share of meetings that are as if by chance
EXCLUDED = -30.0
"""``log_reliance`` of a modality that is never a cause."""
RIVALS = ("popularity", "transition", "taste")
"""Rivals of content, in the order of their columns."""
_FIRST_CONTENT, _FIRST_TWO = 4.0, 0.05
_TWO, _TWO_WORTH = 0.01, 0.06  # prior share of choices with two causes, and what it is worth, a share of the data
LARGE = 50_000
"""Items above which nothing goes over the whole catalogue in a step; see docs/training.md."""
_FIXED = 8_000


@dataclass(frozen=True)
class Shape:
    """What is fixed before learning. ``rounds`` fixed-point steps before and after the seeds move; with ``denoise`` off
    every modality of every interaction counts in full and users do not differ in reliance.

    For ablations: with ``reliance`` off users do not differ either, but interactions are weighed; ``exclusive`` allows
    no two causes at once; ``hard`` counts the likeliest modality as evidence, in full, and no other; ``causal`` lets
    only the past speak for an interaction; without ``rivals`` popularity alone competes with the content."""

    themes: int = 16
    rounds: int = 5
    candidates: int = 800
    denoise: bool = True
    reliance: bool = True
    exclusive: bool = False
    hard: bool = False
    causal: bool = False
    rivals: bool = True


@dataclass
class Inferred:
    """``r_BTM`` responsibilities of the modalities, ``rival_BTR`` of the rivals;
    ``ratio_BTM`` density ratios, ``total_BT`` p(i)/p_t(i) of the mixture."""

    r_BTM: Tensor
    ratio_BTM: Tensor
    total_BT: Tensor
    rival_BTR: Tensor
    opened: list[Opened]


class Denoiser(nn.Module):
    """The mixture over modalities. ``latents`` and ``themes`` by name; ``popularity`` (I,) counts of the training
    interactions. :meth:`start` makes one to be trained, :meth:`restore` one from its tensors."""

    popularity_I: Tensor
    period_IG: Tensor

    def __init__(
        self,
        latents: Mapping[str, Latent],
        themes: Mapping[str, Themes],
        popularity: np.ndarray,
        shape: Shape,
        *,
        ordered: bool,
        period_IG: np.ndarray | None = None,
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
        periods = torch.ones(len(smoothed), 1) if period_IG is None else torch.as_tensor(period_IG)
        # Not saved: periods are for diagnosing, which the end of the training does.
        self.register_buffer("period_IG", periods, persistent=False)
        self.pairs = [] if shape.exclusive else list(combinations(range(len(self.names)), 2))
        self.two = nn.Parameter(torch.logit(torch.tensor(_FIRST_TWO)))
        self.n_rivals = others = len(RIVALS) if shape.rivals else 1
        self.log_content = nn.Parameter(torch.full((2,), _FIRST_CONTENT).log())
        self.log_reliance = nn.Parameter(torch.tensor([1 / others] * others + [1 / len(latents)] * len(latents)).log())

    @classmethod
    def start(
        cls,
        latents: Mapping[str, Latent],
        popularity: np.ndarray,
        shape: Shape,
        *,
        ordered: bool,
        seed: int,
        period_IG: np.ndarray | None = None,
    ) -> Denoiser:
        """Before training: pretrained geometry as it is, themes from k-means. ``period_IG``: how much more popular each
        item was in every period of time, of :func:`demure.model.popularity.by_period`."""
        themes = {
            name: start_themes(latent.coordinates, latent.spread, latent.present, shape.themes, seed)
            for name, latent in latents.items()
        }
        return cls(latents, themes, popularity, shape, ordered=ordered, period_IG=period_IG)

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
        """-log of the prior per training interaction, nats, but for a constant: Gaussian for the offsets, Beta for the
        share of choices with two causes. How often content is the cause has no prior: the likelihood tells."""
        learned = [offset for offset in self.offsets() if offset.requires_grad]  # else 0, all of it
        parts = [offset.square().sum() / (2 * OFFSET_SD**2) for offset in learned] or [self.popularity_I.new_zeros(())]
        two = _TWO * nn.functional.logsigmoid(self.two) + (1 - _TWO) * nn.functional.logsigmoid(-self.two)
        return torch.stack(parts).sum() / interactions - _TWO_WORTH * two

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
        return [c.view(self.popularity_I, candidates, generator, self.period_IG) for c in self.experts()]

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
        return [c.view_of(rows, *found, self.period_IG) for c, found in zip(experts, drawn, strict=True)], numbered

    def context(self, items_BT: Tensor, known_BT: Tensor | None = None, beside: Beside | None = None) -> Context:
        """Histories (B, T) padded with -1 as this model reads them."""
        return Context.of(items_BT, known_BT, ordered=self.ordered, causal=self.shape.causal, beside=beside)

    def infer(self, context: Context, views: list[View], own: Sequence[Tensor | None] | None = None) -> Inferred:
        """Responsibilities of every position of the batch given the known others; targets get theirs without being
        evidence for anything. ``own``: for each modality what the positions themselves have told of their items, as
        :meth:`says` gives it, to be left out (B, T, C)."""
        experts = self.experts()
        apart = own or [None] * len(experts)
        opened = [c.open(view, context, said) for c, view, said in zip(experts, views, apart, strict=True)]
        meeting = self._meeting(views)
        present = torch.stack([state.present_BT for state in opened], -1)
        rival = self._rivals(context)
        present = present * self.admitted_K()[self.n_rivals :]
        r = present / (len(experts) + 1) if self.shape.denoise else present
        other, ratio, total = rival / ((len(experts) + 1) * rival.sum(-1, keepdim=True)), present, present.sum(-1)
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
                r, other, total = self.posterior(ratio, rival, self.reliance(r, other, context), present, met)
            if phase == 0:
                weights = self._evidence(r, present)
                for m, (channel, state, view) in enumerate(zip(experts, opened, views, strict=True)):
                    channel.shift(state, view, context, weights[..., m])
        return Inferred(r, ratio, total, other, opened)

    def _rivals(self, context: Context) -> Tensor:
        """Density ratios of the rivals (B, T, R); 1 where they are not known, as to who recommends: then they tell no
        more than the popularity."""
        ratio = context.beside.rival_BTR
        if ratio is None or not self.shape.rivals:
            return torch.ones_like(context.valid_BT)[..., None].expand(-1, -1, self.n_rivals)
        return ratio

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

    def reliance(self, r_BTM: Tensor, other_BTR: Tensor, context: Context) -> Tensor:
        """pi_ut (B, T, R + M) of the rivals and the modalities: smoothed mean of the responsibilities of the
        positions that reach t, with a learned prior."""
        r_BTK = torch.cat([other_BTR, r_BTM], -1)
        if not (self.shape.denoise and self.shape.reliance):
            return self.smoothed(torch.zeros_like(r_BTK[..., :1, :])).expand_as(r_BTK)
        return self.smoothed(torch.einsum("bjt,bjk->btk", context.reach_BTT, r_BTK))

    def smoothed(self, counts_K: Tensor) -> Tensor:
        """Shares (..., K) of the rivals and the modalities from their counts: a Beta prior decides between rivals and
        content, a Dirichlet prior within each."""
        R, admitted_K = self.n_rivals, self.admitted_K()
        prior_K, between = self.log_reliance.exp(), self.log_content.exp()
        within_K = (counts_K + prior_K) * admitted_K
        counts_K = counts_K * admitted_K
        sides = [(counts_K[..., :R], within_K[..., :R], between[0]), (counts_K[..., R:], within_K[..., R:], between[1])]
        weight = [
            (counts.sum(-1, keepdim=True) + worth) * (part.sum(-1, keepdim=True) > 0) for counts, part, worth in sides
        ]
        parts = [
            part / part.sum(-1, keepdim=True).clamp(min=1e-30) * own
            for (_, part, _), own in zip(sides, weight, strict=True)
        ]
        return torch.cat(parts, -1) / (weight[0] + weight[1])

    def admitted_K(self) -> Tensor:
        """1 for the rivals and the modalities that may be causes (K,), 0 for those that :meth:`exclude` left out."""
        return (self.log_reliance > EXCLUDED).to(self.log_reliance.dtype)

    @torch.no_grad()
    def exclude(self, modality: int) -> None:
        """From now on the modality with this number is never a cause."""
        self.log_reliance[self.n_rivals + modality] = EXCLUDED

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
        rival_BTR: Tensor,
        reliance_BTK: Tensor,
        present_BTM: Tensor,
        met: Sequence[Tensor] = (),
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Probability of each modality to be among the causes (B, T, M), of each rival to be the cause
        (B, T, R), and p(i)/p_t(i) (B, T). ``met`` is a factor (B, T) for each pair of causes, 1 if not given."""
        R = rival_BTR.shape[-1]
        other = reliance_BTK[..., :R] * rival_BTR
        content_BTM = reliance_BTK[..., R:]
        two = torch.sigmoid(self.two) if self.pairs else 0.0
        among = (1 - two) * content_BTM * ratio_BTM
        total = other.sum(-1) + among.sum(-1)
        if self.pairs:
            first, second = (torch.tensor(side, device=among.device) for side in zip(*self.pairs, strict=True))
            share = content_BTM[..., first] * content_BTM[..., second]
            share = share / share.sum(-1, keepdim=True).clamp(min=1e-9) * content_BTM.sum(-1, keepdim=True)
            joint = two * share * ratio_BTM[..., first] * ratio_BTM[..., second]
            joint = joint * torch.stack(list(met), -1) if met else joint
            total = total + joint.sum(-1)
            among = among.index_add(-1, first, joint).index_add(-1, second, joint)
        return among / total[..., None] * present_BTM, other / total[..., None], total

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
        differ = float(self.shape.denoise and self.shape.reliance)
        r_BTK = torch.cat([found.rival_BTR, found.r_BTM], -1)
        counts_BK = (r_BTK * context.known_BT[..., None]).sum(1) * differ
        reliance_BIK = self.smoothed(counts_BK)[:, None, :].expand(-1, ratio_BIM.shape[1], -1)
        present_IM = torch.stack([view.present_I for view in views], -1)
        met = self._met_over_catalogue(densities, views, present_IM)
        rival_BIR = torch.ones_like(reliance_BIK[..., : self.n_rivals])
        r_BIM, _, total_BI = self.posterior(ratio_BIM, rival_BIR, reliance_BIK, torch.ones_like(ratio_BIM), met)
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
