"""The density of the item-item model, one function for NumPy (the run), for exported arrays and for torch (ONNX).

    p_id(i | history) = (1 - linear) p_walk(i | history) + linear p_linear(i | history)

The two differ between the callers in how mass moves from items to items (sparse factors, CSR, dense) and not in the
rest, which is here.

Shape suffixes: B users, T positions of a history, I items.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    Array = TypeVar("Array", np.ndarray, Tensor)
else:
    Array = TypeVar("Array")  # a server that scores exported arrays in NumPy needs no torch

STEPS = 3
"""Steps of a random walk whose ``further`` is above 0."""
BACK_OFF = 0.05
"""Weight of the popularity: so many interactions in the walk, this share of the scores in the linear model."""
_TINY = 1e-6


@dataclass(frozen=True)
class ItemItemParameters:
    """Parameters of the item-item model, chosen on the validation split.

    ``nearness`` p: a pair counts gap^-p. ``shared`` s: a user with L interactions counts L^-s. ``exponent`` b: a step
    to item i is weighed n_i^-b. ``fading`` gamma: an item ``age`` steps back starts with age^-gamma. ``further`` h:
    weight of a further step of the walk. ``linear``: share of the linear model in the density.
    """

    nearness: float = 1.0
    shared: float = 0.0
    exponent: float = 0.4
    fading: float = 1.0
    further: float = 0.0
    linear: float = 0.0


def recency_weights(items_BT: np.ndarray, fading: float) -> np.ndarray:
    """Return age^-fading of every interaction (B, T), 1 being the age of the last; 0 where ``items_BT`` is padded."""
    valid_BT = items_BT >= 0
    age_BT = np.maximum(valid_BT.sum(1, keepdims=True) - np.arange(items_BT.shape[1]), 1.0)
    weight_BT: np.ndarray = valid_BT * age_BT**-fading
    return weight_BT


def item_item_density(
    reached_BI: Array,
    step: Callable[[Array], Array],
    weight_BT: Array,
    share_I: Array,
    parameters: ItemItemParameters,
    linear_score_BI: Array | None = None,
) -> Array:
    """Return p_id(i | history) (B, I); rows sum to 1.

    ``reached_BI``: mass of the walk after its first step from the history, whose interactions weigh ``weight_BT``.
    ``step``: moves such mass by one more step. ``share_I``: smoothed popularity. ``linear_score_BI``: scores of the
    linear model, at least 0; None leaves it out.
    """
    density, total = reached_BI, 1.0
    for power in range(1, STEPS if parameters.further else 1):
        reached_BI = step(reached_BI)
        density, total = density + parameters.further**power * reached_BI, total + parameters.further**power
    mass_B1 = weight_BT.sum(1)[:, None] * total + BACK_OFF
    density = (density + (mass_B1 - density.sum(1)[:, None]) * share_I) / mass_B1
    if linear_score_BI is None:
        return density  # type: ignore[no-any-return]
    score_B1 = linear_score_BI.sum(1)[:, None]
    back_off_B1 = BACK_OFF * score_B1 + _TINY
    linear = (linear_score_BI + back_off_B1 * share_I) / (score_B1 + back_off_B1)
    mixed: Array = (1 - parameters.linear) * density + parameters.linear * linear
    return mixed
