"""Simulate users whose interactions content causes, and compute the exact posterior of each cause.

For one interaction, first a cause is drawn, then an item that the user has not had before:

- with probability ``p_none`` nothing causes it: i ~ p_0, the popularity;
- with probability ``p_two`` a pair of modalities does, drawn by the product of reliances: i ~ p_0(i) r_a(i) r_b(i);
- else one modality m, drawn by the user's reliance: i ~ p_0(i) r_m(i),

where the affinity r_m(i) >= 0 is how much likelier i is for this user than by popularity (0 where the item lacks m). A
cause without an item left is not drawn. The posterior of a cause is its prior times its probability of the item, over
the sum of these products; the posterior of a modality is the sum over the causes that contain it. It is exact, so no
diagnosis can do better on average.

Shapes: U users, B users of a block, N interactions, M modalities, C causes, I items.
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
"""Function from users (B,) to r (M, B, I), not negative; 0 where the item lacks the modality."""


@dataclass(frozen=True)
class ContentProcess:
    """What makes the users of a planted set choose, where content has no rival.

    Attributes:
        affinity: see ``Affinity``.
        popularity: (I,), sums to 1.
        reliance: (U, M), each row sums to 1.
        lengths: (U,) interactions of each user, at most I.
        p_none, p_two: probability that nothing, or that two modalities together, cause an interaction.
    """

    affinity: Affinity
    popularity: np.ndarray
    reliance: np.ndarray
    lengths: np.ndarray
    p_none: float = 0.0
    p_two: float = 0.0

    def expected_choices(self, item: int, m: int, source: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Return how often each user (U,) is expected to choose ``item`` as it is, and with the content of the item
        ``source`` in modality ``m``, None: without it.

        In each of a user's choices, as if that were the first: having chosen an item before is not counted.
        """
        before, after = np.zeros(len(self.lengths)), np.zeros(len(self.lengths))
        causes = _causes(self.reliance.shape[1], pairs=self.p_two > 0)
        for users in _blocks(len(self.lengths)):
            ratios = self.affinity(users)
            prior = _prior(self.reliance[users], causes, self.p_none, self.p_two)
            changed = ratios.copy()
            changed[m, :, item] = 0.0 if source is None else ratios[m, :, source]
            for total, ratio in ((before, ratios), (after, changed)):
                chance = (prior * _weights(ratio, self.popularity, causes)[:, :, item]).sum(axis=0)
                total[users] = chance * self.lengths[users]
        return before, after


@dataclass(frozen=True)
class Simulation:
    """Simulated interactions, grouped by user and in time order.

    Attributes:
        users, items: (N,) numbers.
        step: (N,) position in the user's history.
        caused: (N, M) bool, the modalities that caused the interaction.
        posterior: (N, M) in [0, 1], their exact posterior probability.
        seconds: (N,) since the start, or None for an hour per step.
    """

    users: np.ndarray
    items: np.ndarray
    step: np.ndarray
    caused: np.ndarray
    posterior: np.ndarray
    seconds: np.ndarray | None = None

    def interactions(self, user_ids: np.ndarray, item_ids: np.ndarray) -> pd.DataFrame:
        """Return ``user_id``, ``item_id`` and ``timestamp`` in seconds."""
        after = _HOUR * self.step if self.seconds is None else self.seconds
        return pd.DataFrame(
            {
                "user_id": user_ids[self.users],
                "item_id": item_ids[self.items],
                "timestamp": _START + after,
            }
        )

    def truth(self, user_ids: np.ndarray, item_ids: np.ndarray, modalities: tuple[str, ...]) -> pd.DataFrame:
        """Return a row per interaction and modality.

        Columns: ``user_id``, ``item_id``, ``modality``, ``caused`` (0 or 1), ``posterior``.
        """
        number = len(modalities)
        return pd.DataFrame(
            {
                "user_id": np.repeat(user_ids[self.users], number),
                "item_id": np.repeat(item_ids[self.items], number),
                "modality": np.tile(np.array(modalities, dtype=object), len(self.users)),
                "caused": self.caused.astype(int).ravel(),
                "posterior": self.posterior.round(6).ravel(),
            }
        )


def simulate(process: ContentProcess, random: np.random.Generator) -> Simulation:
    """Simulate the interactions of all users; ``random`` decides everything that is drawn."""
    blocks = [_simulate_block(process, users, random) for users in _blocks(len(process.lengths))]
    return Simulation(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))


def _blocks(n_users: int) -> list[np.ndarray]:
    return np.split(np.arange(n_users), range(_USERS_AT_ONCE, n_users, _USERS_AT_ONCE))


def _simulate_block(process: ContentProcess, users: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    n_modalities, lengths = process.reliance.shape[1], process.lengths
    causes = _causes(n_modalities, pairs=process.p_two > 0)
    # (C, B, I), each (c, b) summing to 1, or to 0
    weights = _weights(process.affinity(users), process.popularity, causes)
    prior = _prior(process.reliance[users], causes, process.p_none, process.p_two)  # (C, B)
    left = weights.sum(axis=2)
    member = np.array([[m in cause for m in range(n_modalities)] for cause in causes])  # (C, M)

    steps: list[tuple[np.ndarray, ...]] = []
    for step in range(int(lengths[users].max())):
        active = np.flatnonzero(lengths[users] > step)
        open_prior = np.where(left[:, active] > _EXHAUSTED, prior[:, active], 0.0)
        # A user without any cause left interacts for no reason.
        open_prior[0, open_prior.sum(axis=0) == 0] = 1.0
        open_prior /= open_prior.sum(axis=0)
        cause = draw_columns(open_prior.T, random)
        item = draw_columns(weights[cause, active], random)
        likelihood = weights[:, active, item] / np.maximum(left[:, active], _EXHAUSTED)
        joint = open_prior * likelihood
        posterior = (joint / joint.sum(axis=0)).T @ member
        weights[:, active, item] = 0.0
        left[:, active] = np.maximum(left[:, active] - likelihood * left[:, active], 0.0)
        steps.append((users[active], item, np.full(len(active), step), member[cause], posterior))
    user, item, position, caused, posterior = (np.concatenate(parts) for parts in zip(*steps, strict=True))
    order = np.lexsort((position, user))
    return user[order], item[order], position[order], caused[order], posterior[order]


def _causes(n_modalities: int, *, pairs: bool) -> list[tuple[int, ...]]:
    """Return the causes as tuples of modality numbers: none, each modality, and each pair if ``pairs``."""
    both = list(combinations(range(n_modalities), 2)) if pairs else []
    return [(), *((m,) for m in range(n_modalities)), *both]


def _weights(ratios: np.ndarray, popularity: np.ndarray, causes: list[tuple[int, ...]]) -> np.ndarray:
    """Return p(i | cause), (C, B, I); zero for a cause without any item."""
    weights = np.stack([popularity * ratios[list(cause)].prod(axis=0) for cause in causes])
    total = weights.sum(axis=2, keepdims=True)
    normalised: np.ndarray = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
    return normalised


def _prior(reliance: np.ndarray, causes: list[tuple[int, ...]], p_none: float, p_two: float) -> np.ndarray:
    """Return the prior of each cause, (C, B), from ``reliance`` (B, M)."""
    prior = np.stack([reliance[:, list(cause)].prod(axis=1) for cause in causes])
    double = np.array([len(cause) == 2 for cause in causes])
    single = np.array([len(cause) == 1 for cause in causes])
    prior[0] = p_none
    prior[single] *= 1 - p_none - p_two
    if double.any():
        prior[double] *= p_two / np.maximum(prior[double].sum(axis=0), 1e-300)
    return prior


def draw_columns(weights: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draw one column of each row of ``weights`` (B, n), (B,); never a column of weight 0."""
    cumulative = weights.cumsum(axis=1)
    threshold = random.random(len(weights)) * cumulative[:, -1]
    columns: np.ndarray = (cumulative <= threshold[:, None]).sum(axis=1)
    return columns
