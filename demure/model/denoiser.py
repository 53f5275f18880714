"""The denoiser: infers what caused each interaction from all other interactions of the same user.

An interaction is caused by a rival of content (popularity, transition, taste), by one modality, or by two at once; see
``demure.model.mixture`` for the mixture (equation (1) of docs/method.md). rho^r is the density ratio of rival r to the
popularity p_t at the time of the interaction, rho^m that of modality m (``demure.model.modality``). All pi are the
user's reliance: smoothed counts of the responsibilities of the other interactions. The responsibility r^m is the
posterior that m was among the causes, a Bernoulli probability per modality: two can be high, or none. Responsibilities
weigh the history that the experts use, so both are inferred together by fixed-point iteration (EM for the mixture; CVB0
for reliance and clusters).

Shape suffixes: B users, T positions (``x_BTT`` from source to target), I items, C clusters, G periods, M modalities, R
rivals of content, K = R + M causes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from demure.model.batch import HistoryBatch, SideInformation
from demure.model.clusters import ClusterExpert, init_clusters
from demure.model.latent import Latent
from demure.model.mixture import cause_posterior, cause_shares
from demure.model.modality import CatalogueView, ExpertState, ModalityExpert
from demure.model.pairs import catalogue_factors, inverse_lifts, pair_factors
from demure.model.stored_names import attribute_name, stored_name
from demure.recipe.schema import DenoiserRecipe

OFFSET_SD = 0.15
"""Standard deviation of the prior of the items' offsets."""
EXCLUDED = -30.0
"""``log_reliance`` of a modality that is never a cause."""
RIVALS = ("popularity", "transition", "taste")
"""Rivals of content, in the order of their columns."""
LARGE = 50_000
"""Number of items above which no training step goes over the whole catalogue; see docs/training.md."""
_FIXED_CANDIDATES = 8_000
_INITIAL_CONTENT, _INITIAL_TWO_CAUSES = 4.0, 0.05
_TWO_CAUSES, _TWO_CAUSES_STRENGTH = (
    0.01,
    0.06,
)  # prior share of interactions with two causes; strength: share of the data


@dataclass
class Inference:
    """What the denoiser infers about a batch.

    ``r_BTM`` responsibilities of the modalities, ``rival_BTR`` of the rivals; ``ratio_BTM`` density ratios rho^m;
    ``total_BT`` p(i) / p_t(i) of the mixture; ``states`` of the experts, one per modality.
    """

    r_BTM: Tensor
    ratio_BTM: Tensor
    total_BT: Tensor
    rival_BTR: Tensor
    states: list[ExpertState]


class Denoiser(nn.Module):
    """The mixture over causes. :meth:`from_latents` makes one to train, :meth:`from_tensors` a trained one.

    ``latents`` and ``clusters`` by modality name; ``popularity`` (I,) counts of the training interactions; ``settings``
    as in the recipe; ``ordered``: whether the order of interactions is known; ``period_IG``: how much more popular each
    item was in every period of time (:func:`demure.model.popularity.fit_periods`).
    """

    popularity_I: Tensor
    period_IG: Tensor

    def __init__(
        self,
        latents: Mapping[str, Latent],
        clusters: Mapping[str, ClusterExpert],
        popularity: np.ndarray,
        settings: DenoiserRecipe,
        *,
        ordered: bool,
        period_IG: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.names = list(latents)
        self.settings = settings
        self.ordered = ordered
        self.modality_experts = nn.ModuleDict(
            {
                f"m{k}": ModalityExpert(latents[name], clusters[name], ordered=ordered)
                for k, name in enumerate(self.names)
            }
        )
        smoothed = torch.as_tensor(popularity, dtype=torch.float32) + 1.0
        self.register_buffer("popularity_I", smoothed / smoothed.sum())
        periods = torch.ones(len(smoothed), 1) if period_IG is None else torch.as_tensor(period_IG)
        # Not saved: only the diagnosis at the end of the training needs the periods.
        self.register_buffer("period_IG", periods, persistent=False)
        self.pairs = [] if settings.exclusive else list(combinations(range(len(self.names)), 2))
        self.two_causes = nn.Parameter(torch.logit(torch.tensor(_INITIAL_TWO_CAUSES)))
        self.n_rivals = R = len(RIVALS) if settings.rivals else 1
        self.log_content = nn.Parameter(torch.full((2,), _INITIAL_CONTENT).log())
        self.log_reliance = nn.Parameter(torch.tensor([1 / R] * R + [1 / len(latents)] * len(latents)).log())

    @classmethod
    def from_latents(
        cls,
        latents: Mapping[str, Latent],
        popularity: np.ndarray,
        settings: DenoiserRecipe,
        *,
        ordered: bool,
        seed: int,
        period_IG: np.ndarray | None = None,
    ) -> Denoiser:
        """Return an untrained denoiser: the encoders' geometry as it is, clusters from k-means."""
        clusters = {
            name: init_clusters(latent.coordinates, latent.spread, latent.present, settings.clusters, seed)
            for name, latent in latents.items()
        }
        return cls(latents, clusters, popularity, settings, ordered=ordered, period_IG=period_IG)

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], names: Sequence[str], settings: DenoiserRecipe, *, ordered: bool
    ) -> Denoiser:
        """Return a trained denoiser from its ``state_dict``. Raises ``KeyError`` where a tensor is missing."""
        tensors = {attribute_name(name): tensor for name, tensor in tensors.items()}
        latents, clusters = {}, {}
        for k, name in enumerate(names):
            expert = f"modality_experts.m{k}"
            coordinates, present = tensors[f"{expert}.coordinates_ID"], tensors[f"{expert}.present_I"]
            spread = np.ones(coordinates.shape[1], np.float32)
            latents[name] = Latent(coordinates.numpy(), spread, present.numpy() > 0)
            centres = np.zeros(tuple(tensors[f"{expert}.clusters.weight"].shape), np.float32)
            clusters[name] = ClusterExpert(centres, 1.0, len(coordinates))
        denoiser = cls(latents, clusters, np.zeros(len(tensors["popularity_I"])), settings, ordered=ordered)
        denoiser.load_state_dict(tensors)
        return denoiser

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return the tensors under their stored names."""
        return {stored_name(name): tensor for name, tensor in super().state_dict(*args, **kwargs).items()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load tensors under stored names or the module's own."""
        return super().load_state_dict({attribute_name(n): t for n, t in state_dict.items()}, strict, assign)

    def experts(self) -> list[ModalityExpert]:
        """Return the modalities' experts in the order of ``names``."""
        return [expert for expert in self.modality_experts.values() if isinstance(expert, ModalityExpert)]

    def offsets(self) -> list[nn.Parameter]:
        """Return the items' offsets from their features, for each modality."""
        return [expert.kernel.offset_ID for expert in self.experts()]

    def train_offsets_only(self) -> None:
        """Let training change the items' offsets and nothing else."""
        self.requires_grad_(False)
        for offset in self.offsets():
            offset.requires_grad_(True)

    def negative_log_prior(self, interactions: int) -> Tensor:
        """Return -log of the prior per training interaction, in nats, up to a constant.

        The prior is Gaussian for the offsets and Beta for the share of interactions with two causes. The share of
        content among the causes has no prior: the likelihood determines it.
        """
        trained = [offset for offset in self.offsets() if offset.requires_grad]  # the other offsets are 0
        parts = [offset.square().sum() / (2 * OFFSET_SD**2) for offset in trained] or [self.popularity_I.new_zeros(())]
        log_sigmoid = nn.functional.logsigmoid
        two_causes = _TWO_CAUSES * log_sigmoid(self.two_causes) + (1 - _TWO_CAUSES) * log_sigmoid(-self.two_causes)
        return torch.stack(parts).sum() / interactions - _TWO_CAUSES_STRENGTH * two_causes

    @property
    def large(self) -> bool:
        """Whether the catalogue is too large for steps over all items.

        Sums over the catalogue are then estimated from candidates, and items have no offsets.
        """
        return len(self.popularity_I) > LARGE

    def views(self, generator: torch.Generator | None = None) -> list[CatalogueView]:
        """Return every expert's view of all items; with a ``generator``, softmaxes run over sampled candidates.

        Without one they run over all items or, for a large catalogue, over a fixed sample of candidates.
        """
        candidates = self.settings.candidates
        if generator is None and self.large:
            generator, candidates = torch.Generator().manual_seed(0), min(_FIXED_CANDIDATES, LARGE)
        return [e.view(self.popularity_I, candidates, generator, self.period_IG) for e in self.experts()]

    def sampled_views(self, items_BT: np.ndarray, generator: torch.Generator) -> tuple[list[CatalogueView], np.ndarray]:
        """Return views with sampled candidates for a training step, and ``items_BT`` (B, T) as the views number them.

        For a large catalogue the views hold the items of the batch and the candidates alone.
        """
        if not self.large:
            return self.views(generator), items_BT
        experts = self.experts()
        drawn = [e.candidates(self.popularity_I, self.settings.candidates, generator) for e in experts]
        batch_items = torch.as_tensor(items_BT[items_BT >= 0]).to(self.popularity_I.device)
        all_items = torch.cat([batch_items, *(items for items, _, _ in drawn)])
        rows, index = all_items.unique(return_inverse=True)  # type: ignore[no-untyped-call]
        numbered = items_BT.copy()
        numbered[items_BT >= 0] = index[: len(batch_items)].cpu().numpy()
        views = [e.view_of_subset(rows, *sample, self.period_IG) for e, sample in zip(experts, drawn, strict=True)]
        return views, numbered

    def make_batch(
        self, items_BT: Tensor, observed_BT: Tensor | None = None, side_information: SideInformation | None = None
    ) -> HistoryBatch:
        """Return histories (B, T), padded with -1, as a batch for this model."""
        causal = self.settings.causal
        return HistoryBatch.build(
            items_BT, observed_BT, ordered=self.ordered, causal=causal, side_information=side_information
        )

    def infer(
        self, batch: HistoryBatch, views: list[CatalogueView], own_messages: Sequence[Tensor | None] | None = None
    ) -> Inference:
        """Infer the responsibilities of every position from the other observed positions of its user.

        Held-out targets get responsibilities without being evidence. ``own_messages`` (B, T, C) for each modality, as
        :meth:`messages` returns them, are what the positions themselves contributed; they are left out.
        """
        experts, settings = self.experts(), self.settings
        own = own_messages or [None] * len(experts)
        states = [e.init_state(view, batch, own_BTC) for e, view, own_BTC in zip(experts, views, own, strict=True)]
        lifts = self._inverse_lifts(views)
        present = torch.stack([state.present_BT for state in states], -1)
        rival_ratio = self._rival_ratios(batch)
        present = present * self.admitted_K()[self.n_rivals :]
        r = present / (len(experts) + 1) if settings.denoise else present
        rival = rival_ratio / ((len(experts) + 1) * rival_ratio.sum(-1, keepdim=True))
        ratio, total = present, present.sum(-1)
        rounds = settings.rounds if settings.denoise else 1
        for phase in range(2):
            for _ in range(rounds):
                weights = self._weigh(r, present)
                ratio = torch.stack(
                    [
                        expert.ratio(state, view, batch, weights[..., m])
                        for m, (expert, state, view) in enumerate(zip(experts, states, views, strict=True))
                    ],
                    -1,
                )
                shares = [state.clusters.share_BTC for state in states]
                factors = pair_factors(self.pairs, lifts, experts, shares, present)
                reliance = self.reliance(r, rival, batch)
                r, rival, total = self.posterior(ratio, rival_ratio, reliance, present, factors)
            if phase == 0:  # the responsibilities now say which items are noise, so that the centres may move
                weights = self._weigh(r, present)
                for m, (expert, state, view) in enumerate(zip(experts, states, views, strict=True)):
                    expert.shift_centres(state, view, batch, weights[..., m])
        return Inference(r, ratio, total, rival, states)

    def _rival_ratios(self, batch: HistoryBatch) -> Tensor:
        """Return the density ratios of the rivals (B, T, R); 1, that of the popularity, where they are not known."""
        ratio = batch.side_information.rival_BTR
        if ratio is None or not self.settings.rivals:
            return torch.ones_like(batch.valid_BT)[..., None].expand(-1, -1, self.n_rivals)
        return ratio

    def _inverse_lifts(self, views: list[CatalogueView]) -> list[Tensor]:
        return inverse_lifts(self.pairs, views)

    def messages(self, inference: Inference, views: list[CatalogueView]) -> list[Tensor]:
        """Return the messages (B, T, C) of each modality; see :meth:`ModalityExpert.messages`."""
        experts = enumerate(zip(self.experts(), inference.states, views, strict=True))
        ratio, r = inference.ratio_BTM, inference.r_BTM
        return [expert.messages(state, view, ratio[..., m], r[..., m]) for m, (expert, state, view) in experts]

    def ratio_by_features(self, inference: Inference, views: list[CatalogueView], batch: HistoryBatch) -> Tensor:
        """Return ``ratio_BTM`` by the targets' own features; see :meth:`ModalityExpert.ratio_by_features`."""
        experts, ratio = enumerate(zip(self.experts(), inference.states, views, strict=True)), inference.ratio_BTM
        return torch.stack(
            [e.ratio_by_features(state, view, batch, ratio[..., m]) for m, (e, state, view) in experts], -1
        )

    def evidence_weights(self, inference: Inference) -> Tensor:
        """Return how much each modality of each position counts as evidence (B, T, M)."""
        return self._weigh(inference.r_BTM, torch.stack([state.present_BT for state in inference.states], -1))

    def _weigh(self, r_BTM: Tensor, present_BTM: Tensor) -> Tensor:
        if not self.settings.denoise:
            return present_BTM
        return (r_BTM == r_BTM.amax(-1, keepdim=True)) * present_BTM if self.settings.hard else r_BTM

    def reliance(self, r_BTM: Tensor, rival_BTR: Tensor, batch: HistoryBatch) -> Tensor:
        """Return pi (B, T, K): the smoothed mean of the responsibilities of the positions visible to each target."""
        r_BTK = torch.cat([rival_BTR, r_BTM], -1)
        if not (self.settings.denoise and self.settings.reliance):
            return self.reliance_from_counts(torch.zeros_like(r_BTK[..., :1, :])).expand_as(r_BTK)
        return self.reliance_from_counts(torch.einsum("bjt,bjk->btk", batch.visible_BTT, r_BTK))

    def reliance_from_counts(self, counts_K: Tensor) -> Tensor:
        """Return pi (..., K) from the counts of each cause, with the learned priors."""
        prior_K, between_2 = self.log_reliance.exp(), self.log_content.exp()
        return cause_shares(counts_K, prior_K, between_2, self.admitted_K(), self.n_rivals)

    def admitted_K(self) -> Tensor:
        """Return 1 for the causes that are allowed (K,), 0 for the modalities that :meth:`exclude` ruled out."""
        return (self.log_reliance > EXCLUDED).to(self.log_reliance.dtype)

    @torch.no_grad()
    def exclude(self, modality: int) -> None:
        """Rule out the modality with this number as a cause."""
        self.log_reliance[self.n_rivals + modality] = EXCLUDED

    def posterior(
        self,
        ratio_BTM: Tensor,
        rival_BTR: Tensor,
        reliance_BTK: Tensor,
        present_BTM: Tensor,
        factors: Sequence[Tensor] = (),
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the posterior of each modality (B, T, M) and rival (B, T, R), and p(i) / p_t(i) (B, T).

        ``factors`` (B, T) of the pairs of modalities: ``demure.model.pairs``, 1 if not given.
        """
        two_causes = torch.sigmoid(self.two_causes) if self.pairs else 0.0
        return cause_posterior(
            ratio_BTM, rival_BTR, reliance_BTK, present_BTM, two_causes=two_causes, pairs=self.pairs, factors=factors
        )

    def log_likelihood(
        self, batch: HistoryBatch, views: list[CatalogueView], own_messages: Sequence[Tensor | None] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return log p(i_t) / p_t(i_t) of the held-out positions, flat, and their mask (B, T).

        ``own_messages`` as in :meth:`infer`.
        """
        held_out = (batch.valid_BT > 0) & (batch.observed_BT == 0)
        return self.infer(batch, views, own_messages).total_BT[held_out].clamp(min=1e-12).log(), held_out

    def user_reliance(self, inference: Inference, batch: HistoryBatch) -> Tensor:
        """Return the users' reliance (B, K) on the rivals and the modalities, from their whole observed histories."""
        r_BTK = torch.cat([inference.rival_BTR, inference.r_BTM], -1)
        users_differ = float(self.settings.denoise and self.settings.reliance)
        return self.reliance_from_counts((r_BTK * batch.observed_BT[..., None]).sum(1) * users_differ)

    def modality_reliance(self, inference: Inference, batch: HistoryBatch) -> Tensor:
        """Return :meth:`user_reliance` on the modalities alone (B, M): rows sum to 1, to 0 if none is admitted."""
        reliance_BM = self.user_reliance(inference, batch)[:, self.n_rivals :]
        return reliance_BM / reliance_BM.sum(-1, keepdim=True).clamp(min=1e-9)

    def catalogue_ratios(
        self, batch: HistoryBatch, views: list[CatalogueView], inference: Inference | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return p(i | history) / p_0(i) for every item (B, I), and each modality's part of it (B, M, I).

        ``inference``: the result of :meth:`infer` for ``batch``, if it is known already.
        """
        inference, experts = inference or self.infer(batch, views), self.experts()
        weights = self.evidence_weights(inference)
        ratios, densities = zip(
            *(
                expert.catalogue_ratios(state, view, batch, weights[..., m])
                for m, (expert, state, view) in enumerate(zip(experts, inference.states, views, strict=True))
            ),
            strict=True,
        )
        ratio_BIM = torch.stack(ratios, -1)
        reliance_BIK = self.user_reliance(inference, batch)[:, None, :].expand(-1, ratio_BIM.shape[1], -1)
        factors = catalogue_factors(self.pairs, self._inverse_lifts(views), experts, densities, views)
        rival_BIR = torch.ones_like(reliance_BIK[..., : self.n_rivals])
        r_BIM, _, total_BI = self.posterior(ratio_BIM, rival_BIR, reliance_BIK, torch.ones_like(ratio_BIM), factors)
        return total_BI, (r_BIM * total_BI[..., None]).transpose(1, 2)
