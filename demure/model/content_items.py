"""Content-based item-item model: items near each other in the whole feature space of a modality.

    p_content(i | u) = sum_m pi_um sum_j w_jm P_m(i | j) / sum_j w_jm
    P_m(i | j)       proportional to exp((cos(x_i, x_j) - 1) / tau) (n_i + 1)^beta

over the 50 items nearest to j, j itself included, so that an item unlike all others recommends little. pi_um is the
user's reliance on modality m among the modalities, w_jm = r_jm^g the responsibility of m for choice j; both are the
denoiser's. n_i is the number of training interactions with item i. With beta = 1 content spreads over items as their
popularity does; an item without interactions has the prior of new items (``FusionWeights.new_items``).

The denoiser compares items in 20 components, where evidence can be learned; which of many similar items to recommend
depends on finer likeness (benchmarks/LOG.md).

Shape suffixes: B users, T positions of a history, I items, D feature columns, N nearest items, M modalities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
import torch
import torch.nn.functional as F
from torch import Tensor

from demure.model.item_item_density import Array
from demure.model.mass_product import CPU
from demure.model.nearest_items import ABSENT, NearestItems


@dataclass(frozen=True)
class ContentItemParameters:
    """Parameters of the content-based item-item model, chosen on the validation split.

    ``share`` a of this model in the mixture with the item-item model; ``bandwidth`` tau; ``popularity`` beta;
    ``denoised`` g, the exponent of the responsibilities (0: every choice of the history counts alike).
    """

    share: float = 0.0
    bandwidth: float = 0.1
    popularity: float = 1.0
    denoised: float = 0.0


class ContentItemModel:
    """The model over ``nearest`` items of each modality, in the order of the denoiser's modalities, on ``device``.

    ``counts_I`` (I,): training interactions per item, or what stands for them for an item that has none
    (``FusionWeights.expected_counts``).
    """

    def __init__(
        self,
        nearest: Mapping[str, NearestItems],
        counts_I: np.ndarray,
        parameters: ContentItemParameters,
        device: torch.device = CPU,
    ) -> None:
        self.nearest, self.counts_I, self.parameters, self.device = dict(nearest), counts_I, parameters, device
        neighbors = self.nearest.values()
        self._items_IN = [torch.as_tensor(each.items_IN.astype(np.int64)).to(device) for each in neighbors]
        self._weights_IN = [torch.as_tensor(self._weights(each)).to(device) for each in neighbors]
        self._has_step_I = [(weight_IN > 0).any(1) for weight_IN in self._weights_IN]

    def with_parameters(self, parameters: ContentItemParameters) -> ContentItemModel:
        """Return a model over the same nearest items with other ``parameters``."""
        return ContentItemModel(self.nearest, self.counts_I, parameters, self.device)

    def with_counts(self, counts_I: np.ndarray) -> ContentItemModel:
        """Return a model over the same nearest items with other ``counts_I``."""
        return ContentItemModel(self.nearest, counts_I, self.parameters, self.device)

    def _weights(self, neighbors: NearestItems) -> np.ndarray:
        """Return P_m(i | j) (I, N) of the items i near each j; zeros if j lacks the modality."""
        weight_IN = np.exp((neighbors.cosine_IN.astype(np.float64) - 1) / self.parameters.bandwidth)
        weight_IN *= ((self.counts_I + 1.0) ** self.parameters.popularity)[neighbors.items_IN]
        weight_IN[neighbors.cosine_IN <= ABSENT] = 0.0
        weight_IN /= np.maximum(weight_IN.sum(1, keepdims=True), 1e-300)
        return weight_IN

    def steps(self) -> list[sparse.csr_array]:
        """Return P_m (I, I) of each modality: row j is the density of the items near j."""
        n_items = len(self.counts_I)
        steps = []
        for items_IN, weight_IN in zip(self._items_IN, self._weights_IN, strict=True):
            row_starts = np.arange(n_items + 1) * items_IN.shape[1]
            parts = (weight_IN.cpu().numpy().ravel(), items_IN.cpu().numpy().ravel(), row_starts)
            steps.append(sparse.csr_array(parts, shape=(n_items, n_items)))
        return steps

    def density(
        self, items_BT: np.ndarray, weight_BTM: Tensor | np.ndarray, modality_share_BM: Tensor | np.ndarray
    ) -> Tensor:
        """Return p_content split by modality (B, M, I), from histories padded with -1.

        ``weight_BTM``: responsibilities. ``modality_share_BM``: rows sum to 1. Summed over modalities and items, a row
        is 1 for a user whose history shows every modality, less where the history lacks one, and 0 without a history.
        """
        index_BT = torch.as_tensor(np.maximum(items_BT, 0)).to(self.device)
        valid_BT = torch.as_tensor(items_BT >= 0).to(self.device)
        weight_BTM, modality_share_BM = (
            torch.as_tensor(array).to(self.device, torch.float64) for array in (weight_BTM, modality_share_BM)
        )
        shape = (len(items_BT), len(self._items_IN), len(self.counts_I))
        density_BMI = torch.zeros(shape, dtype=torch.float64, device=self.device)
        for m, (items_IN, weight_IN) in enumerate(zip(self._items_IN, self._weights_IN, strict=True)):
            # Without a floor, a history of noise alone would have no content to follow.
            weight_BT = weight_BTM[..., m].clamp(min=1e-6) ** self.parameters.denoised
            weight_BT = weight_BT * (valid_BT & self._has_step_I[m][index_BT])
            weight_BT = weight_BT * (modality_share_BM[:, m : m + 1] / weight_BT.sum(1, keepdim=True).clamp(min=1e-12))
            mass_BTN = weight_BT[..., None] * F.embedding(index_BT, weight_IN)
            density_BMI[:, m].scatter_add_(1, F.embedding(index_BT, items_IN).flatten(1), mass_BTN.flatten(1))
        return density_BMI


def mix_content_items(ratio_BI: Array, content_BI: Array, share: float, popularity_I: Array) -> Array:
    """Return ((1 - a) p_id + a p_content) / p_0 (B, I), at least 1e-12; p_id gets what p_content lacks of a density.

    ``ratio_BI``: p_id / p_0. ``content_BI``: p_content. ``share``: a. ``popularity_I``: p_0. All are NumPy arrays, or
    all are tensors.
    """
    rest_B1 = 1 - share * content_BI.sum(1)[:, None]
    mixed_BI: Array = (rest_B1 * ratio_BI + share * content_BI / popularity_I).clip(1e-12)
    return mixed_BI


def to_tensors(nearest: Mapping[str, NearestItems]) -> dict[str, Tensor]:
    """Return the nearest items of every modality as tensors to store, numbered in their order."""
    tensors = {}
    for m, neighbors in enumerate(nearest.values()):
        tensors[f"m{m}.items"] = torch.as_tensor(neighbors.items_IN)
        tensors[f"m{m}.cosine"] = torch.as_tensor(neighbors.cosine_IN)
    return tensors


def from_tensors(tensors: Mapping[str, Tensor], modalities: Sequence[str]) -> dict[str, NearestItems]:
    """Return the nearest items of ``modalities`` from :func:`to_tensors`. Raises ``KeyError`` if one is missing."""
    return {
        name: NearestItems(tensors[f"m{m}.items"].numpy(), tensors[f"m{m}.cosine"].numpy())
        for m, name in enumerate(modalities)
    }
