"""The recommender: the denoised content, similar content and co-occurrence, fused into one score.

    score(i | u) = v log p_both(i | u) + (1 - v) log p_0(i) + w_i log rho_content(i | u),    w_i = w + s k / (n_i + k)
    p_both       = (1 - a) p_id + a p_content

p_id is the item-item model of co-occurrence, p_content that of the content (``demure.model.content_items``), which uses
the users' reliance as the denoiser infers it; rho_content is the denoiser's mixture. The score is a log-linear pool
(Genest and Zidek, "Combining probability distributions", Statistical Science 1986). Co-occurrence knows little of an
item with few interactions, while its content is as informative as any: hence s, for items with n_i training
interactions, k = 10. With v = s = 0 and w = 1 the score is the content mixture of the paper. The diagnosis uses the
content mixture alone. a, v, w, s and the parameters of both item-item models are chosen on the validation split
(``demure.training.tune_fusion``).

Shape suffixes: B users, T positions of a history, I items, M modalities.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from demure.model.content_items import ContentItemModel, mix_content_items
from demure.model.denoiser import Denoiser
from demure.model.denormals import flush_denormals
from demure.model.fusion import FusionWeights
from demure.model.item_item import ItemItemModel
from demure.model.modality import CatalogueView


@dataclass(frozen=True)
class Reading:
    """What the denoiser infers from histories.

    ``content_BI``: log rho_content. ``modality_BI``: the modality with the largest term of it. ``items_BT``: the
    interactions used. ``weight_BTM``: weight of each modality of them as a source. ``modality_share_BM``: the users'
    shares of the modalities, rows sum to 1 (to 0 if no modality is admitted).
    """

    content_BI: Tensor
    modality_BI: Tensor
    items_BT: np.ndarray
    weight_BTM: Tensor
    modality_share_BM: Tensor


@dataclass(frozen=True)
class Terms:
    """The parts of the score, log density ratios to the popularity (B, I), on the device of the model.

    ``collaborative``: of the item-item model, mixed with similar content; ``content``: of the denoiser. ``similar``
    (B, M, I): the share of each modality's similar content in the mixture, in [0, 1]; None where it has no share.
    ``modality`` (B, I): the modality with the largest term in the denoiser's mixture.
    """

    collaborative: Tensor
    content: Tensor
    modality: Tensor
    similar: Tensor | None = None

    def of_items(self, items_BK: Tensor) -> Terms:
        """Return the terms of these items alone, (B, K)."""
        similar = self.similar
        if similar is not None:
            similar = similar.gather(2, items_BK[:, None].expand(-1, similar.shape[1], -1))
        parts = (self.collaborative, self.content, self.modality)
        collaborative, content, modality = (part.gather(1, items_BK) for part in parts)
        return Terms(collaborative, content, modality, similar)


class Recommender:
    """Scores of all items for padded histories, computed on the device of the denoiser, where they stay.

    ``item_item`` is None where the recipe leaves co-occurrence out, ``content_items`` where validation gives similar
    content no share. ``train_counts_I`` (I,): training interactions per item. ``max_history``: number of last
    interactions whose content is used. ``log_popularity`` (I,): log p_0, the popularity in training, where an item
    without interactions counts as n_0 of them.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        item_item: ItemItemModel | None,
        fusion: FusionWeights,
        train_counts_I: np.ndarray,
        *,
        max_history: int,
        content_items: ContentItemModel | None = None,
    ) -> None:
        self.denoiser, self.item_item, self.max_history = denoiser, item_item, max_history
        self.content_items, self.train_counts_I = content_items, train_counts_I
        self.device = denoiser.popularity_I.device
        self._train_log_popularity_I: np.ndarray = denoiser.popularity_I.log().cpu().numpy()
        self._views: list[CatalogueView] | None = None
        self.fusion = fusion

    @property
    def fusion(self) -> FusionWeights:
        """The weights of the parts of the score."""
        return self._fusion

    @fusion.setter
    def fusion(self, weights: FusionWeights) -> None:
        self._fusion = weights
        self.log_popularity = self._log_popularity(weights.new_items)
        self._log_popularity_I = torch.as_tensor(self.log_popularity).to(self.device)
        self._content_weight_I = torch.as_tensor(weights.content_weights(self.train_counts_I)).to(self.device)

    def _log_popularity(self, new_items: float) -> np.ndarray:
        if not new_items:
            return self._train_log_popularity_I
        popularity_I = np.exp(self._train_log_popularity_I.astype(np.float64))
        prior = new_items / max(self.train_counts_I.sum(), 1)
        popularity_I = np.where(self.train_counts_I == 0, np.maximum(popularity_I, prior), popularity_I)
        log_popularity_I: np.ndarray = np.log(popularity_I / popularity_I.sum()).astype(np.float32)
        return log_popularity_I

    def collaborative(self, items_BT: np.ndarray) -> Tensor:
        """Return log p_id / p_0 (B, I) from histories padded with -1 at the end."""
        if self.item_item is None:
            return torch.zeros(len(items_BT), len(self._log_popularity_I), device=self.device)
        return self.item_item.density(items_BT).float().log_().sub_(self._log_popularity_I)

    @torch.no_grad()
    @flush_denormals()
    def read(self, items_BT: np.ndarray) -> Reading:
        """Return what the denoiser infers from the last ``max_history`` interactions of each user."""
        if self._views is None:
            self._views = self.denoiser.views()
        denoiser, last_BT = self.denoiser, _last(items_BT, self.max_history)
        batch = denoiser.make_batch(torch.as_tensor(last_BT).to(self.device))
        inference = denoiser.infer(batch, self._views)
        total_BI, terms_BMI = denoiser.catalogue_ratios(batch, self._views, inference)
        return Reading(
            total_BI.clamp(min=1e-12).log(),
            terms_BMI.max(1).indices,  # an argmax takes ten times as long here
            last_BT,
            denoiser.source_weights(inference),
            denoiser.modality_shares(inference, batch),
        )

    def content(self, items_BT: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return log rho_content (B, I) and the modality with the largest term (B, I)."""
        reading = self.read(items_BT)
        return reading.content_BI, reading.modality_BI

    def terms(self, items_BT: np.ndarray) -> Terms:
        """Return the parts of the score."""
        reading, collaborative_BI = self.read(items_BT), self.collaborative(items_BT)
        if self.content_items is None:
            return Terms(collaborative_BI, reading.content_BI, reading.modality_BI)
        share, popularity_I = self.content_items.parameters.share, self._log_popularity_I.exp()
        density_BMI = self.content_items.density(reading.items_BT, reading.weight_BTM, reading.modality_share_BM)
        density_BMI = density_BMI.float()
        mixed_BI = mix_content_items(collaborative_BI.exp_(), density_BMI.sum(1), share, popularity_I)
        similar_BMI = density_BMI.mul_(share).div_((mixed_BI * popularity_I)[:, None])
        return Terms(mixed_BI.log(), reading.content_BI, reading.modality_BI, similar_BMI)

    def score(self, terms: Terms) -> Tensor:
        """Return the fused score (B, I), float32."""
        fused_BI = self.fusion.collaborative * terms.collaborative
        return fused_BI.addcmul_(self._content_weight_I, terms.content).add_(self._log_popularity_I)

    def because(self, terms: Terms, items_BK: Tensor | None = None) -> Tensor:
        """Return the modality that contributes most to the scores of the items (B, K), or M where no modality does.

        A modality contributes its share of the mixture's term, and the denoiser's term if its own part of that term is
        the largest. M: co-occurrence contributes at least as much, or no modality has a positive contribution.
        ``items_BK``: all items where None.
        """
        content_weight = self._content_weight_I
        if items_BK is not None:
            terms, content_weight = terms.of_items(items_BK), content_weight[items_BK]
        content_BK = (content_weight * terms.content).clamp(min=0)
        mixed_BK = (self.fusion.collaborative * terms.collaborative).clamp(min=0)
        n_modalities = len(self.denoiser.modalities)
        similar_BMK = torch.zeros(1, n_modalities, 1, device=self.device) if terms.similar is None else terms.similar
        modality_M1 = torch.arange(n_modalities, device=self.device)[:, None]
        contribution_BMK = similar_BMK * mixed_BK[:, None] + content_BK[:, None] * (
            terms.modality[:, None] == modality_M1
        )
        history_BK = mixed_BK * (1 - similar_BMK.sum(1))
        largest_BK, modality_BK = contribution_BMK.max(1)
        return modality_BK.where((largest_BK > history_BK) & (largest_BK > 0), n_modalities)


def _last(items_BT: np.ndarray, count: int) -> np.ndarray:
    """Return the last ``count`` interactions of each padded row."""
    if items_BT.shape[1] <= count:
        return items_BT
    length = (items_BT >= 0).sum(1, keepdims=True)
    column = np.maximum(length - count, 0) + np.arange(count)
    return np.where(column < length, np.take_along_axis(items_BT, np.minimum(column, items_BT.shape[1] - 1), 1), -1)
