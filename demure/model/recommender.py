"""The whole model: what the denoised content says, and what is taken together, in one score.

    score(i | u) = v log p_id(i | u) + (1 - v) log p_0(i) + w_i log rho_content(i | u),    w_i = w + s k / (n_i + k)

a log-linear pool (Genest and Zidek, "Combining probability distributions", Statistical Science 1986). Co-occurrence
knows little of an item that few took, its content as much as ever: hence s, for items taken n_i times in training, k
= 10. With v = s = 0 and w = 1 it is the content mixture of the paper itself. The diagnosis reads the content mixture
alone: co-occurrence is a consequence of what people look at, not a rival cause. v, w, s and the numbers of the ``id``
channel are chosen on the validation split (``demure.training.tune_fusion``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from demure.model.denoiser import Denoiser
from demure.model.denormals import subnormals_are_zero
from demure.model.item_item import Neighbours
from demure.model.modality import View

_FEW = 10.0


@dataclass(frozen=True)
class Pool:
    """Weights of the log-linear pool: ``collaborative`` v, ``content`` w, and ``scarce`` s, more content for items that
    few took."""

    collaborative: float = 1.0
    content: float = 0.1
    scarce: float = 0.0

    def content_of(self, taken_I: np.ndarray) -> np.ndarray:
        """w_i (I,), for items taken ``taken_I`` times in training."""
        return (self.content + self.scarce * _FEW / (taken_I + _FEW)).astype(np.float32)


@dataclass(frozen=True)
class Terms:
    """Log density ratios to the popularity, (B, I) each: of the ``id`` channel and of the content mixture; ``modality``
    (B, I) is the index of the modality with the largest term."""

    collaborative: np.ndarray
    content: np.ndarray
    modality: np.ndarray


class Recommender:
    """Scores of all items for padded histories. ``neighbours`` is None where the recipe leaves ``id`` out; ``taken_I``
    (I,) interactions per item in training."""

    def __init__(
        self, denoiser: Denoiser, neighbours: Neighbours | None, pool: Pool, taken_I: np.ndarray, *, longest: int
    ) -> None:
        self.denoiser, self.neighbours, self.pool, self.longest = denoiser, neighbours, pool, longest
        self.taken_I = taken_I
        self.log_popularity = denoiser.popularity_I.log().cpu().numpy()
        self._views: list[View] | None = None

    def collaborative(self, items_BT: np.ndarray) -> np.ndarray:
        """log p_id / p_0 (B, I) from histories padded with -1 at the end."""
        if self.neighbours is None:
            return np.zeros((len(items_BT), len(self.log_popularity)))
        return np.log(self.neighbours.density(items_BT)) - self.log_popularity

    @torch.no_grad()
    @subnormals_are_zero()
    def content(self, items_BT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """log rho_content (B, I) and the modality with the largest term (B, I), from the last ``longest``
        interactions."""
        if self._views is None:
            self._views = self.denoiser.views()
        device = self.denoiser.popularity_I.device
        items = torch.as_tensor(_last(items_BT, self.longest), device=device)
        total, terms = self.denoiser.over_catalogue(self.denoiser.context(items), self._views)
        return total.clamp(min=1e-12).log().cpu().numpy(), terms.argmax(1).cpu().numpy()

    def terms(self, items_BT: np.ndarray) -> Terms:
        """Both parts of the score."""
        return Terms(self.collaborative(items_BT), *self.content(items_BT))

    def score(self, terms: Terms) -> np.ndarray:
        """The pooled score (B, I), float32."""
        pooled = self.pool.collaborative * terms.collaborative + self.pool.content_of(self.taken_I) * terms.content
        return (pooled + self.log_popularity).astype(np.float32)

    def because(self, terms: Terms) -> np.ndarray:
        """(B, I): the modality that carries the item, or M where the history (``id``, popularity) carries more."""
        content = self.pool.content_of(self.taken_I) * terms.content
        history = self.pool.collaborative * terms.collaborative
        return np.where((content > history) & (content > 0), terms.modality, len(self.denoiser.names))


def _last(items_BT: np.ndarray, longest: int) -> np.ndarray:
    """The last ``longest`` interactions of each padded row."""
    if items_BT.shape[1] <= longest:
        return items_BT
    length = (items_BT >= 0).sum(1, keepdims=True)
    start = np.maximum(length - longest, 0)
    column = start + np.arange(longest)
    return np.where(column < length, np.take_along_axis(items_BT, np.minimum(column, items_BT.shape[1] - 1), 1), -1)
