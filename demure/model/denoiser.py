"""The denoiser: infers what caused each interaction from all other interactions of the same user.

An interaction is caused by a rival of content (popularity, transition, taste), by one modality, or by two at once; see
``demure.model.mixture`` for the mixture (equation (1) of docs/method.md). rho^r is the density ratio of rival r to the
popularity p_t at the time of the interaction, rho^m that of modality m (``demure.model.modality``). All pi are the
user's shares of the causes: smoothed counts of the responsibilities of the other interactions. The responsibility r^m
is the posterior that m was among the causes, a Bernoulli probability per modality: two can be high, or none.
Responsibilities weigh the history that the experts use, so both are inferred together by fixed-point iteration (EM for
the mixture; CVB0 for the shares of causes and clusters).

Shape suffixes: B users, T positions (``x_BTT`` from source to target), I items, C clusters, P time periods (column 0 is
all time), M modalities, R rivals of content, K = R + M causes; 2: the side of the rivals and that of the content.
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
from demure.model.candidates import CandidateSampler, DrawnItems
from demure.model.clusters import ClusterExpert, init_clusters
from demure.model.latent import Latent
from demure.model.mixture import CausePriors, cause_posterior, cause_terms
from demure.model.modality import CatalogueView, ExpertState, ModalityExpert
from demure.model.pairs import catalogue_factors, compute_inverse_lifts, pair_extents, pair_factors
from demure.model.stored_names import attribute_name, stored_name
from demure.recipe.schema import DenoiserRecipe

OFFSET_SD = 0.15
"""Standard deviation of the prior of the items' offsets."""
NOT_ADMITTED = -30.0
"""``log_cause_prior_K`` of a modality that is not admitted, so never a cause."""
RIVALS = ("popularity", "transition", "taste")
"""Rivals of content, in the order of their columns."""
MAX_FULL_CATALOGUE = 50_000
"""Number of items above which no training step goes over the whole catalogue; see docs/training.md."""
_MAX_EXACT_NORMALISER = 16_000  # items above which normalisers outside of steps are estimated from fixed candidates
_FIXED_CANDIDATES = 4_000
_INITIAL_SIDE_PRIOR = 4.0  # pseudo-counts of the rivals together, and of the content
_INITIAL_TWO_CAUSES_SHARE = 0.05
_PRIOR_TWO_CAUSES_SHARE = 0.01
_PRIOR_TWO_CAUSES_STRENGTH = 0.06  # as a share of the data


@dataclass
class Inference:
    """What the denoiser infers about a batch.

    ``r_BTM`` responsibilities of the modalities, ``rival_r_BTR`` of the rivals; ``ratio_BTM`` density ratios rho^m;
    ``total_BT`` p(i) / p_t(i) of the mixture; ``states`` of the experts, one per modality.
    """

    r_BTM: Tensor
    ratio_BTM: Tensor
    total_BT: Tensor
    rival_r_BTR: Tensor
    states: list[ExpertState]


class Denoiser(nn.Module):
    """The mixture over causes. :meth:`from_latents` makes one to train, :meth:`from_tensors` a trained one.

    ``latents`` and ``clusters`` by modality name; ``popularity`` (I,) counts of the training interactions; ``settings``
    as in the recipe; ``ordered``: whether the order of interactions is known; ``popularity_factor_IP``: the popularity
    of an item in a period divided by its overall popularity (:func:`demure.model.popularity.fit_periods`).
    """

    popularity_I: Tensor
    popularity_factor_IP: Tensor

    def __init__(
        self,
        latents: Mapping[str, Latent],
        clusters: Mapping[str, ClusterExpert],
        popularity: np.ndarray,
        settings: DenoiserRecipe,
        *,
        ordered: bool,
        popularity_factor_IP: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.modalities = list(latents)
        self.settings = settings
        self.ordered = ordered
        self.modality_experts = nn.ModuleDict(
            {
                f"m{k}": ModalityExpert(latents[name], clusters[name], ordered=ordered)
                for k, name in enumerate(self.modalities)
            }
        )
        smoothed = torch.as_tensor(popularity, dtype=torch.float32) + 1.0
        self.register_buffer("popularity_I", smoothed / smoothed.sum())
        all_time = torch.ones(len(smoothed), 1)
        factors = all_time if popularity_factor_IP is None else torch.as_tensor(popularity_factor_IP)
        # Not saved: a diagnosis needs the periods; recommendations do not.
        self.register_buffer("popularity_factor_IP", factors, persistent=False)
        self.pairs = [] if settings.exclusive else list(combinations(range(len(self.modalities)), 2))
        self.two_causes_logit = nn.Parameter(torch.logit(torch.tensor(_INITIAL_TWO_CAUSES_SHARE)))
        self.n_rivals = R = len(RIVALS) if settings.rivals else 1
        # Logs of prior pseudo-counts: Beta between the rivals and the content, Dirichlet within each of these sides.
        self.log_side_prior_2 = nn.Parameter(torch.full((2,), _INITIAL_SIDE_PRIOR).log())
        self.log_cause_prior_K = nn.Parameter(torch.tensor([1 / R] * R + [1 / len(latents)] * len(latents)).log())

    @classmethod
    def from_latents(
        cls,
        latents: Mapping[str, Latent],
        popularity: np.ndarray,
        settings: DenoiserRecipe,
        *,
        ordered: bool,
        seed: int,
        popularity_factor_IP: np.ndarray | None = None,
    ) -> Denoiser:
        """Return an untrained denoiser: the encoders' geometry as it is, clusters from k-means."""
        clusters = {
            name: init_clusters(latent.coordinates, latent.spread, latent.present, settings.clusters, seed)
            for name, latent in latents.items()
        }
        return cls(latents, clusters, popularity, settings, ordered=ordered, popularity_factor_IP=popularity_factor_IP)

    @classmethod
    def from_tensors(
        cls,
        tensors: Mapping[str, Tensor],
        modalities: Sequence[str],
        settings: DenoiserRecipe,
        *,
        ordered: bool,
        popularity_factor_IP: np.ndarray | None = None,
    ) -> Denoiser:
        """Return a trained denoiser from its ``state_dict``. Raises ``KeyError`` where a tensor is missing."""
        tensors = {attribute_name(name): tensor for name, tensor in tensors.items()}
        latents, clusters = {}, {}
        for k, name in enumerate(modalities):
            expert = f"modality_experts.m{k}"
            coordinates, present = tensors[f"{expert}.coordinates_ID"], tensors[f"{expert}.present_I"]
            spread = np.ones(coordinates.shape[1], np.float32)
            latents[name] = Latent(coordinates.numpy(), spread, present.numpy() > 0)
            centres = np.zeros(tuple(tensors[f"{expert}.clusters.weight"].shape), np.float32)
            clusters[name] = ClusterExpert(centres, 1.0, len(coordinates))
        counts = np.zeros(len(tensors["popularity_I"]))
        denoiser = cls(latents, clusters, counts, settings, ordered=ordered, popularity_factor_IP=popularity_factor_IP)
        denoiser.load_state_dict(tensors)
        return denoiser

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return the tensors under their stored names."""
        return {stored_name(name): tensor for name, tensor in super().state_dict(*args, **kwargs).items()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Load tensors under stored names or the module's own."""
        return super().load_state_dict({attribute_name(n): t for n, t in state_dict.items()}, strict, assign)

    def experts(self) -> list[ModalityExpert]:
        """Return the modalities' experts in the order of ``modalities``."""
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

        The prior is Gaussian for the offsets and Beta for the share of interactions with two causes. The Beta prior of
        the content share is learned, without a hyperprior.
        """
        trained = [offset for offset in self.offsets() if offset.requires_grad]  # the other offsets are 0
        parts = [offset.square().sum() / (2 * OFFSET_SD**2) for offset in trained] or [self.popularity_I.new_zeros(())]
        log_sigmoid = nn.functional.logsigmoid
        logit, prior_share = self.two_causes_logit, _PRIOR_TWO_CAUSES_SHARE
        two_causes_log_prior = prior_share * log_sigmoid(logit) + (1 - prior_share) * log_sigmoid(-logit)
        return torch.stack(parts).sum() / interactions - _PRIOR_TWO_CAUSES_STRENGTH * two_causes_log_prior

    @property
    def users_differ(self) -> bool:
        """Whether every user has shares of the causes of their own, from their own history."""
        return self.settings.denoise and self.settings.reliance

    @property
    def has_large_catalogue(self) -> bool:
        """Whether the catalogue is too large for steps over all items.

        Sums over the catalogue are then estimated from candidates, and items have no offsets.
        """
        return len(self.popularity_I) > MAX_FULL_CATALOGUE

    def views(self, generator: torch.Generator | None = None) -> list[CatalogueView]:
        """Return every expert's view of all items; with a ``generator``, softmaxes run over sampled candidates.

        Without one they run over all items or, where these are many, over a fixed sample of candidates: the cost of an
        interaction does not grow with the catalogue.
        """
        count: int | None = self.settings.candidates
        if generator is None:
            generator = torch.Generator().manual_seed(0)
            count = _FIXED_CANDIDATES if len(self.popularity_I) > _MAX_EXACT_NORMALISER else None
        return self.views_with([sampler.draw(generator) for sampler in self.samplers(count)])

    def samplers(self, count: int | None) -> list[CandidateSampler]:
        """Return for each expert a sampler of ``count`` candidates, None: of all items."""
        return [expert.sampler(self.popularity_I, count) for expert in self.experts()]

    def views_with(self, drawn: Sequence[DrawnItems]) -> list[CatalogueView]:
        """Return every expert's view of all items, with candidates that were drawn before."""
        experts = zip(self.experts(), drawn, strict=True)
        return [expert.view(self.popularity_I, items, self.popularity_factor_IP) for expert, items in experts]

    def make_batch(
        self, items_BT: Tensor, observed_BT: Tensor | None = None, side_information: SideInformation | None = None
    ) -> HistoryBatch:
        """Return histories (B, T), padded with -1, as a batch for this model."""
        causal = self.settings.causal
        return HistoryBatch.build(
            items_BT, observed_BT, ordered=self.ordered, causal=causal, side_information=side_information
        )

    def infer(
        self, batch: HistoryBatch, views: list[CatalogueView], cavity_messages: Sequence[Tensor | None] | None = None
    ) -> Inference:
        """Infer the responsibilities of every position from the other observed positions of its user.

        A held-out position gets responsibilities, but no other position uses it. ``cavity_messages`` (B, T, C) for each
        modality, as :meth:`messages` returns them. A cavity message is the message that a position itself sent to its
        item: the item's memberships are taken without it, so that no position is evidence for itself.
        """
        experts, settings = self.experts(), self.settings
        cavities = cavity_messages or [None] * len(experts)
        states = [e.init_state(view, batch, cavity) for e, view, cavity in zip(experts, views, cavities, strict=True)]
        rival_ratio, priors = self._rival_ratios(batch), self.cause_priors()
        present = torch.stack([state.present_BT for state in states], -1) * priors.admitted_K[self.n_rivals :]
        inverse_lifts, extents = self._inverse_lifts(views), pair_extents(self.pairs, experts, present.unbind(-1))
        r = present / (len(experts) + 1) if settings.denoise else present
        # At first all rivals together are as likely as one modality, and each in proportion to its ratio.
        rival_r = rival_ratio / ((len(experts) + 1) * rival_ratio.sum(-1, keepdim=True))
        rounds = settings.rounds if settings.denoise else 1
        for after_shift in (False, True):
            for _ in range(rounds):
                weights = self._weigh(r, present)
                ratios = zip(experts, states, weights.unbind(-1), strict=True)
                ratio = torch.stack([expert.ratio(state, weight) for expert, state, weight in ratios], -1)
                posteriors = [state.clusters.posterior_BTC for state in states]
                factors = pair_factors(self.pairs, inverse_lifts, extents, posteriors)
                cause_share = self.cause_shares(r, rival_r, batch, priors)
                r, rival_r, total = self.posterior(ratio, rival_ratio, cause_share, present, factors)
            if not after_shift:  # move the centres only after the first rounds, when noise has a low weight
                weights = self._weigh(r, present)
                for m, (expert, state, view) in enumerate(zip(experts, states, views, strict=True)):
                    expert.shift_centres(state, view, batch, weights[..., m])
        return Inference(r, ratio, total, rival_r, states)

    def _rival_ratios(self, batch: HistoryBatch) -> Tensor:
        """Return the density ratios of the rivals (B, T, R); 1, that of the popularity, where they are not known."""
        ratio = batch.side_information.rival_ratio_BTR
        if ratio is None or not self.settings.rivals:
            return torch.ones_like(batch.valid_BT)[..., None].expand(-1, -1, self.n_rivals)
        return ratio

    def _inverse_lifts(self, views: list[CatalogueView]) -> list[Tensor]:
        return compute_inverse_lifts(self.pairs, views)

    def messages(self, inference: Inference, views: list[CatalogueView]) -> list[Tensor]:
        """Return the messages (B, T, C) of each modality; see :meth:`ModalityExpert.messages`."""
        experts = enumerate(zip(self.experts(), inference.states, views, strict=True))
        ratio, r = inference.ratio_BTM, inference.r_BTM
        return [expert.messages(state, view, ratio[..., m], r[..., m]) for m, (expert, state, view) in experts]

    def content_only_ratio(self, inference: Inference, views: list[CatalogueView], batch: HistoryBatch) -> Tensor:
        """Return ``ratio_BTM`` by the targets' own content alone; see :meth:`ModalityExpert.content_only_ratio`."""
        experts, ratio = enumerate(zip(self.experts(), inference.states, views, strict=True)), inference.ratio_BTM
        return torch.stack(
            [e.content_only_ratio(state, view, batch, ratio[..., m]) for m, (e, state, view) in experts], -1
        )

    def source_weights(self, inference: Inference) -> Tensor:
        """Return the weights of the positions as sources (B, T, M): their responsibilities, 0 or 1 where ``hard``."""
        return self._weigh(inference.r_BTM, torch.stack([state.present_BT for state in inference.states], -1))

    def _weigh(self, r_BTM: Tensor, present_BTM: Tensor) -> Tensor:
        if not self.settings.denoise:
            return present_BTM
        return (r_BTM == r_BTM.amax(-1, keepdim=True)) * present_BTM if self.settings.hard else r_BTM

    def cause_shares(
        self, r_BTM: Tensor, rival_r_BTR: Tensor, batch: HistoryBatch, priors: CausePriors | None = None
    ) -> Tensor:
        """Return pi (B, T, K): the smoothed mean of the responsibilities of the positions visible to each target.

        ``priors``: the result of :meth:`cause_priors`, if it is known already.
        """
        priors = priors or self.cause_priors()
        r_BTK = torch.cat([rival_r_BTR, r_BTM], -1)
        if not self.users_differ:
            return priors.shares(torch.zeros_like(r_BTK[..., :1, :])).expand_as(r_BTK)
        return priors.shares(batch.visible_BTT.transpose(1, 2) @ r_BTK)

    def cause_priors(self, dtype: torch.dtype = torch.float32) -> CausePriors:
        """Return the learned priors of the shares of the causes."""
        cause_prior_K, side_prior_2 = self.log_cause_prior_K.exp(), self.log_side_prior_2.exp()
        admitted_K = self.admitted_K().to(dtype)
        return CausePriors.build(cause_prior_K.to(dtype), side_prior_2.to(dtype), admitted_K, self.n_rivals)

    def shares_from_counts(self, counts_K: Tensor) -> Tensor:
        """Return pi (..., K) from the counts of each cause, with the learned priors."""
        return self.cause_priors(counts_K.dtype).shares(counts_K)

    def admitted_K(self) -> Tensor:
        """Return 1 for the causes that are allowed (K,), 0 for the modalities that are not admitted."""
        return (self.log_cause_prior_K > NOT_ADMITTED).to(self.log_cause_prior_K.dtype)

    def admitted_modalities(self) -> list[bool]:
        """Return for each modality whether it may be a cause."""
        return [bool(admitted) for admitted in self.admitted_K()[self.n_rivals :]]

    @torch.no_grad()
    def revoke_admission(self, modality: int) -> None:
        """Rule out the modality with this index as a cause."""
        self.log_cause_prior_K[self.n_rivals + modality] = NOT_ADMITTED

    def posterior(
        self,
        ratio_BTM: Tensor,
        rival_ratio_BTR: Tensor,
        cause_share_BTK: Tensor,
        present_BTM: Tensor,
        factors: Sequence[Tensor] = (),
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the posterior of each modality (B, T, M) and rival (B, T, R), and p(i) / p_t(i) (B, T).

        ``factors`` (B, T) of the pairs of modalities: ``demure.model.pairs``, 1 if not given.
        """
        return cause_posterior(
            ratio_BTM,
            rival_ratio_BTR,
            cause_share_BTK,
            present_BTM,
            two_causes_share=torch.sigmoid(self.two_causes_logit) if self.pairs else 0.0,
            pairs=self.pairs,
            factors=factors,
        )

    def log_likelihood(
        self, batch: HistoryBatch, views: list[CatalogueView], cavity_messages: Sequence[Tensor | None] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return log(p(i_t) / p_t(i_t)) of the held-out positions, flat, and their mask (B, T).

        ``cavity_messages`` as in :meth:`infer`.
        """
        held_out = (batch.valid_BT > 0) & (batch.observed_BT == 0)
        return self.infer(batch, views, cavity_messages).total_BT[held_out].clamp(min=1e-12).log(), held_out

    def user_cause_shares(self, inference: Inference, batch: HistoryBatch) -> Tensor:
        """Return the users' shares of the causes (B, K), rivals and modalities, from their whole observed histories."""
        r_BTK = torch.cat([inference.rival_r_BTR, inference.r_BTM], -1)
        return self.shares_from_counts((r_BTK * batch.observed_BT[..., None]).sum(1) * float(self.users_differ))

    def modality_shares(self, inference: Inference, batch: HistoryBatch) -> Tensor:
        """Return :meth:`user_cause_shares` of the modalities alone (B, M): rows sum to 1, to 0 if none is admitted."""
        modality_share_BM = self.user_cause_shares(inference, batch)[:, self.n_rivals :]
        return modality_share_BM / modality_share_BM.sum(-1, keepdim=True).clamp(min=1e-9)

    def catalogue_ratios(
        self, batch: HistoryBatch, views: list[CatalogueView], inference: Inference | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return p(i | history) / p_0(i) for every item (B, I), and each modality's part of it (B, M, I).

        p_0 is the popularity over all time; the ratios of the rivals are 1. ``inference``: that of ``batch``, if known.
        """
        inference, experts = inference or self.infer(batch, views), self.experts()
        weights = self.source_weights(inference)
        ratios, densities = zip(
            *(
                expert.catalogue_ratios(state, view, batch, weights[..., m])
                for m, (expert, state, view) in enumerate(zip(experts, inference.states, views, strict=True))
            ),
            strict=True,
        )
        # The numbers of one modality lie together.
        ratio_BIM, ones_R = torch.stack(ratios).permute(1, 2, 0), ratios[0].new_ones(self.n_rivals)
        share_B1K = self.user_cause_shares(inference, batch)[:, None]
        factors = catalogue_factors(self.pairs, self._inverse_lifts(views), experts, densities, views)
        delta = torch.sigmoid(self.two_causes_logit) if self.pairs else 0.0
        term_BIM, _, total_BI = cause_terms(
            ratio_BIM, ones_R, share_B1K, two_causes_share=delta, pairs=self.pairs, factors=factors
        )
        return total_BI, term_BIM.transpose(1, 2)
