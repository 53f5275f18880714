"""Users who choose items for reasons we know, and what a judge who knows the process would say of each choice.

One interaction: the user first finds a cause, then an item not chosen before.

- with probability ``p_none`` nothing causes it: i ~ p_0, the popularity;
- with probability ``p_two`` a pair of modalities does, drawn by the product of reliances: i ~ p_0(i) r_a(i) r_b(i);
- else one modality m, drawn by the user's reliance: i ~ p_0(i) r_m(i),

where r_m(i) >= 0 is how much more the user is drawn to i by m than the crowd is (0 where the item lacks m). A cause
that has no item left to offer is not drawn. The posterior of a cause is its prior times its probability of the item,
over the sum of these; of a modality, the sum over the causes it is part of. It is exact: the ceiling of a diagnosis.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

_HOUR, _START = 3600, 1_600_000_000
_USERS_AT_ONCE = 128
_EXHAUSTED = 1e-9

Affinity = Callable[[np.ndarray], np.ndarray]
"""Users (B,) -> r (M, B, I), not negative; 0 where the item lacks the modality."""


@dataclass(frozen=True)
class Choices:
    """N interactions of U users, grouped by user and in time order.

    ``users`` (N,) and ``items`` (N,) indices; ``step`` (N,) the place in the user's history; ``caused`` (N, M) bool;
    ``posterior`` (N, M) in [0, 1]. ``seconds`` (N,) from the start, or None for an hour per step.
    """

    users: np.ndarray
    items: np.ndarray
    step: np.ndarray
    caused: np.ndarray
    posterior: np.ndarray
    seconds: np.ndarray | None = None

    def interactions(self, user_ids: np.ndarray, item_ids: np.ndarray) -> pd.DataFrame:
        """``user_id``, ``item_id``, ``timestamp`` in seconds: as chosen, or a user's interactions an hour apart."""
        after = _HOUR * self.step if self.seconds is None else self.seconds
        return pd.DataFrame(
            {
                "user_id": user_ids[self.users],
                "item_id": item_ids[self.items],
                "timestamp": _START + after,
            }
        )

    def truth(self, user_ids: np.ndarray, item_ids: np.ndarray, modalities: tuple[str, ...]) -> pd.DataFrame:
        """A row per interaction and modality: ``user_id``, ``item_id``, ``modality``, ``caused`` 0/1, ``posterior``."""
        each = len(modalities)
        return pd.DataFrame(
            {
                "user_id": np.repeat(user_ids[self.users], each),
                "item_id": np.repeat(item_ids[self.items], each),
                "modality": np.tile(np.array(modalities, dtype=object), len(self.users)),
                "caused": self.caused.astype(int).ravel(),
                "posterior": self.posterior.round(6).ravel(),
            }
        )


def choose(
    affinity: Affinity,
    popularity: np.ndarray,
    reliance: np.ndarray,
    lengths: np.ndarray,
    random: np.random.Generator,
    *,
    p_none: float = 0.0,
    p_two: float = 0.0,
) -> Choices:
    """Let users choose. ``popularity`` (I,) sums to 1, ``reliance`` (U, M) to 1 by row, ``lengths`` (U,) at most I."""
    blocks = [
        _choose_block(affinity, popularity, reliance, lengths, users, random, p_none, p_two)
        for users in np.split(np.arange(len(lengths)), range(_USERS_AT_ONCE, len(lengths), _USERS_AT_ONCE))
    ]
    return Choices(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))


def _choose_block(
    affinity: Affinity,
    popularity: np.ndarray,
    reliance: np.ndarray,
    lengths: np.ndarray,
    users: np.ndarray,
    random: np.random.Generator,
    p_none: float,
    p_two: float,
) -> tuple[np.ndarray, ...]:
    n_modalities = reliance.shape[1]
    causes = _causes(n_modalities, pairs=p_two > 0)
    weights = _weights(affinity(users), popularity, causes)  # (C, B, I), each (c, b) summing to 1, or to 0
    prior = _prior(reliance[users], causes, p_none, p_two)  # (C, B)
    left = weights.sum(axis=2)
    member = np.array([[m in cause for m in range(n_modalities)] for cause in causes])  # (C, M)

    found: list[tuple[np.ndarray, ...]] = []
    for step in range(int(lengths[users].max())):
        active = np.flatnonzero(lengths[users] > step)
        open_prior = np.where(left[:, active] > _EXHAUSTED, prior[:, active], 0.0)
        # Who has nothing left to go by chooses for no reason.
        open_prior[0, open_prior.sum(axis=0) == 0] = 1.0
        open_prior /= open_prior.sum(axis=0)
        cause = draw(open_prior.T, random)
        item = draw(weights[cause, active], random)
        likelihood = weights[:, active, item] / np.maximum(left[:, active], _EXHAUSTED)
        joint = open_prior * likelihood
        posterior = (joint / joint.sum(axis=0)).T @ member
        weights[:, active, item] = 0.0
        left[:, active] = np.maximum(left[:, active] - likelihood * left[:, active], 0.0)
        found.append((users[active], item, np.full(len(active), step), member[cause], posterior))
    user, item, steps, caused, posterior = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.lexsort((steps, user))
    return user[order], item[order], steps[order], caused[order], posterior[order]


def _causes(n_modalities: int, *, pairs: bool) -> list[tuple[int, ...]]:
    """None, each modality, each pair of them: as tuples of modality numbers."""
    both = list(combinations(range(n_modalities), 2)) if pairs else []
    return [(), *((m,) for m in range(n_modalities)), *both]


def _weights(ratios: np.ndarray, popularity: np.ndarray, causes: list[tuple[int, ...]]) -> np.ndarray:
    weights = np.stack([popularity * ratios[list(cause)].prod(axis=0) for cause in causes])
    total = weights.sum(axis=2, keepdims=True)
    return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)


def _prior(reliance: np.ndarray, causes: list[tuple[int, ...]], p_none: float, p_two: float) -> np.ndarray:
    prior = np.stack([reliance[:, list(cause)].prod(axis=1) for cause in causes])
    two = np.array([len(cause) == 2 for cause in causes])
    one = np.array([len(cause) == 1 for cause in causes])
    prior[0] = p_none
    prior[one] *= 1 - p_none - p_two
    if two.any():
        prior[two] *= p_two / np.maximum(prior[two].sum(axis=0), 1e-300)
    return prior


def draw(weights: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One column of each row (B, n) by weight; never one of weight 0."""
    cumulative = weights.cumsum(axis=1)
    threshold = random.random(len(weights)) * cumulative[:, -1]
    return (cumulative <= threshold[:, None]).sum(axis=1)
