"""The recommender: the denoised content and the item-item model fused into one score.

    score(i | u) = v log p_id(i | u) + (1 - v) log p_0(i) + w_i log rho_content(i | u),    w_i = w + s k / (n_i + k)

This is a log-linear pool (Genest and Zidek, "Combining probability distributions", Statistical Science 1986).
Co-occurrence knows little of an item with few interactions, while its content is as informative as any: hence s, for
items with n_i training interactions, k = 10. With v = s = 0 and w = 1 the score is the content mixture of the paper.
The diagnosis uses the content mixture alone: co-occurrence is a consequence of what people look at, not a rival cause.
v, w, s and the item-item parameters are chosen on the validation split (``demure.training.tune_fusion``).

Shape suffixes: B users, T positions of a history, I items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from demure.model.denoiser import Denoiser
from demure.model.denormals import flush_denormals
from demure.model.fusion import FusionWeights
from demure.model.item_item import ItemItemModel
from demure.model.modality import CatalogueView


@dataclass(frozen=True)
class Terms:
    """Log density ratios to the popularity: ``collaborative`` and ``content`` (B, I).

    ``modality`` (B, I) is the index of the modality with the largest term in the content mixture.
    """

    collaborative: np.ndarray
    content: np.ndarray
    modality: np.ndarray


class Recommender:
    """Scores of all items for padded histories.

    ``item_item`` is None where the recipe leaves co-occurrence out. ``train_counts_I`` (I,): training interactions per
    item. ``max_history``: number of last interactions whose content is used.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        item_item: ItemItemModel | None,
        fusion: FusionWeights,
        train_counts_I: np.ndarray,
        *,
        max_history: int,
    ) -> None:
        self.denoiser, self.item_item, self.fusion, self.max_history = denoiser, item_item, fusion, max_history
        self.train_counts_I = train_counts_I
        self.log_popularity: np.ndarray = denoiser.popularity_I.log().cpu().numpy()
        self._views: list[CatalogueView] | None = None

    def collaborative(self, items_BT: np.ndarray) -> np.ndarray:
        """Return log p_id / p_0 (B, I) from histories padded with -1 at the end."""
        if self.item_item is None:
            return np.zeros((len(items_BT), len(self.log_popularity)))
        log_ratio_BI: np.ndarray = np.log(self.item_item.density(items_BT)) - self.log_popularity
        return log_ratio_BI

    @torch.no_grad()
    @flush_denormals()
    def content(self, items_BT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return log rho_content (B, I) and the modality with the largest term (B, I).

        Uses the last ``max_history`` interactions of each user.
        """
        if self._views is None:
            self._views = self.denoiser.views()
        device = self.denoiser.popularity_I.device
        batch = self.denoiser.make_batch(torch.as_tensor(_last(items_BT, self.max_history), device=device))
        total, terms = self.denoiser.catalogue_ratios(batch, self._views)
        return total.clamp(min=1e-12).log().cpu().numpy(), terms.argmax(1).cpu().numpy()

    def terms(self, items_BT: np.ndarray) -> Terms:
        """Return both parts of the score."""
        return Terms(self.collaborative(items_BT), *self.content(items_BT))

    def score(self, terms: Terms) -> np.ndarray:
        """Return the fused score (B, I), float32."""
        content_weight_I = self.fusion.content_weights(self.train_counts_I)
        fused = self.fusion.collaborative * terms.collaborative + content_weight_I * terms.content
        score_BI: np.ndarray = (fused + self.log_popularity).astype(np.float32)
        return score_BI

    def because(self, terms: Terms) -> np.ndarray:
        """Return the modality that carries each item (B, I), or M where co-occurrence carries more."""
        content = self.fusion.content_weights(self.train_counts_I) * terms.content
        history = self.fusion.collaborative * terms.collaborative
        return np.where((content > history) & (content > 0), terms.modality, len(self.denoiser.names))


def _last(items_BT: np.ndarray, count: int) -> np.ndarray:
    """Return the last ``count`` interactions of each padded row."""
    if items_BT.shape[1] <= count:
        return items_BT
    length = (items_BT >= 0).sum(1, keepdims=True)
    column = np.maximum(length - count, 0) + np.arange(count)
    return np.where(column < length, np.take_along_axis(items_BT, np.minimum(column, items_BT.shape[1] - 1), 1), -1)
