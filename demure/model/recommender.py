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

    content_BI: np.ndarray
    modality_BI: np.ndarray
    items_BT: np.ndarray
    weight_BTM: np.ndarray
    modality_share_BM: np.ndarray


@dataclass(frozen=True)
class Terms:
    """The parts of the score, log density ratios to the popularity (B, I).

    ``collaborative``: of the item-item model, mixed with similar content; ``content``: of the denoiser. ``similar``
    (B, M, I): the share of each modality's similar content in the mixture, in [0, 1]; None where it has no share.
    ``modality`` (B, I): the modality with the largest term in the denoiser's mixture.
    """

    collaborative: np.ndarray
    content: np.ndarray
    modality: np.ndarray
    similar: np.ndarray | None = None


class Recommender:
    """Scores of all items for padded histories.

    ``item_item`` is None where the recipe leaves co-occurrence out, ``content_items`` where validation gives similar
    content no share. ``train_counts_I`` (I,): training interactions per item. ``max_history``: number of last
    interactions whose content is used.
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
        self.denoiser, self.item_item, self.fusion, self.max_history = denoiser, item_item, fusion, max_history
        self.content_items, self.train_counts_I = content_items, train_counts_I
        self._train_log_popularity_I: np.ndarray = denoiser.popularity_I.log().cpu().numpy()
        self._views: list[CatalogueView] | None = None

    @property
    def log_popularity(self) -> np.ndarray:
        """log p_0 (I,): the popularity in training, where an item without interactions counts as n_0 of them."""
        if not self.fusion.new_items:
            return self._train_log_popularity_I
        popularity_I = np.exp(self._train_log_popularity_I.astype(np.float64))
        prior = self.fusion.new_items / max(self.train_counts_I.sum(), 1)
        popularity_I = np.where(self.train_counts_I == 0, np.maximum(popularity_I, prior), popularity_I)
        log_popularity_I: np.ndarray = np.log(popularity_I / popularity_I.sum()).astype(np.float32)
        return log_popularity_I

    def collaborative(self, items_BT: np.ndarray) -> np.ndarray:
        """Return log p_id / p_0 (B, I) from histories padded with -1 at the end."""
        if self.item_item is None:
            return np.zeros((len(items_BT), len(self.log_popularity)))
        log_ratio_BI: np.ndarray = np.log(self.item_item.density(items_BT)) - self.log_popularity
        return log_ratio_BI

    @torch.no_grad()
    @flush_denormals()
    def read(self, items_BT: np.ndarray) -> Reading:
        """Return what the denoiser infers from the last ``max_history`` interactions of each user."""
        if self._views is None:
            self._views = self.denoiser.views()
        denoiser, last_BT = self.denoiser, _last(items_BT, self.max_history)
        batch = denoiser.make_batch(torch.as_tensor(last_BT, device=denoiser.popularity_I.device))
        inference = denoiser.infer(batch, self._views)
        total_BI, terms_BMI = denoiser.catalogue_ratios(batch, self._views, inference)
        return Reading(
            total_BI.clamp(min=1e-12).log().cpu().numpy(),
            terms_BMI.argmax(1).cpu().numpy(),
            last_BT,
            denoiser.source_weights(inference).cpu().numpy(),
            denoiser.modality_shares(inference, batch).cpu().numpy(),
        )

    def content(self, items_BT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return log rho_content (B, I) and the modality with the largest term (B, I)."""
        reading = self.read(items_BT)
        return reading.content_BI, reading.modality_BI

    def terms(self, items_BT: np.ndarray) -> Terms:
        """Return the parts of the score."""
        reading, collaborative_BI = self.read(items_BT), self.collaborative(items_BT)
        if self.content_items is None:
            return Terms(collaborative_BI, reading.content_BI, reading.modality_BI)
        share, popularity_I = self.content_items.parameters.share, np.exp(self.log_popularity)
        density_BMI = self.content_items.density(reading.items_BT, reading.weight_BTM, reading.modality_share_BM)
        mixed_BI = np.log(mix_content_items(np.exp(collaborative_BI), density_BMI.sum(1), share, popularity_I))
        similar_BMI = share * density_BMI / (np.exp(mixed_BI) * popularity_I)[:, None]
        return Terms(mixed_BI, reading.content_BI, reading.modality_BI, similar_BMI)

    def score(self, terms: Terms) -> np.ndarray:
        """Return the fused score (B, I), float32."""
        content_weight_I = self.fusion.content_weights(self.train_counts_I)
        fused = self.fusion.collaborative * terms.collaborative + content_weight_I * terms.content
        score_BI: np.ndarray = (fused + self.log_popularity).astype(np.float32)
        return score_BI

    def because(self, terms: Terms) -> np.ndarray:
        """Return the modality that contributes most to each score (B, I), or M where no modality does.

        A modality contributes its share of the mixture's term, and the denoiser's term if its own part of that term is
        the largest. M: co-occurrence contributes at least as much, or no modality has a positive contribution.
        """
        content_BI = np.maximum(self.fusion.content_weights(self.train_counts_I) * terms.content, 0)
        mixed_BI = np.maximum(self.fusion.collaborative * terms.collaborative, 0)
        n_modalities = len(self.denoiser.modalities)
        similar_BMI = np.zeros((len(content_BI), n_modalities, 1)) if terms.similar is None else terms.similar
        contribution_BMI = similar_BMI * mixed_BI[:, None] + content_BI[:, None] * (
            terms.modality[:, None] == np.arange(n_modalities)[:, None]
        )
        history_BI = mixed_BI * (1 - similar_BMI.sum(1))
        largest_BI = contribution_BMI.max(1)
        return np.where((largest_BI > history_BI) & (largest_BI > 0), contribution_BMI.argmax(1), n_modalities)


def _last(items_BT: np.ndarray, count: int) -> np.ndarray:
    """Return the last ``count`` interactions of each padded row."""
    if items_BT.shape[1] <= count:
        return items_BT
    length = (items_BT >= 0).sum(1, keepdims=True)
    column = np.maximum(length - count, 0) + np.arange(count)
    return np.where(column < length, np.take_along_axis(items_BT, np.minimum(column, items_BT.shape[1] - 1), 1), -1)
