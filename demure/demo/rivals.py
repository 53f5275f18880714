"""Simulate users whose interactions content causes only in part, and compute the exact posterior of each cause.

At a time t within a year, a user chooses among the items not chosen before, by the sum of the weights of all causes:

    P(i, c) proportional to P(c) w_c(i)

- a modality m has P(c) = (1 - ``p_rival``) * the user's reliance on m, and w_m(i) is the mean over the user's interests
  (clusters) of popularity within the cluster;
- a trend has P(c) = ``p_rival`` and w(i) = popularity at t. Items then appear during the year and popularity fades as
  exp(-age / 90 days), for the modalities too;
- a habit has P(c) = ``p_rival`` and w(i) = 1/6 for the items that are linked to the user's previous interaction; a
  first interaction has no habit.

No w_c is normalised again over the remaining items: a cause whose best items are taken causes less from then on. The
posterior of a cause is P(i, c) over its sum; it is exact, so no diagnosis can do better on average.

Shapes: U users, B users of a block, C causes, M modalities, I items, K clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demure.demo.simulation import Simulation, draw_columns

DAY, YEAR = 86_400, 365 * 86_400
FADE_DAYS, FIRST_RELEASE, LAST_RELEASE = 90.0, -90.0, 365.0
LINKS = 6
_USERS_AT_ONCE = 128
_NO_WEIGHT = 1e-12


@dataclass(frozen=True)
class RivalProcess:
    """The probabilities of content and of its rival.

    Attributes:
        popularity: (I,), sums to 1.
        cluster: (M, I), each item's cluster in each modality.
        interests: M times (U, K) bool, each user's clusters.
        present: (M, I) bool.
        reliance: (U, M), each row sums to 1.
        p_rival: probability that the rival causes an interaction.
        release: (I,) days; makes the rival a trend.
        links: (I, 6) item numbers; makes the rival a habit. Give ``release`` or ``links``, or neither.
    """

    popularity: np.ndarray
    cluster: np.ndarray
    interests: Sequence[np.ndarray]
    present: np.ndarray
    reliance: np.ndarray
    p_rival: float = 0.0
    release: np.ndarray | None = None
    links: np.ndarray | None = None

    def joint(self, users: np.ndarray, seconds: np.ndarray, previous: np.ndarray) -> np.ndarray:
        """Return P(c) w_c(i), (C, B, I): the modalities in order, then the rival if there is one.

        ``previous`` (B,) is each user's previous item, or -1.
        """
        popularity = self._popularity_at(seconds)
        rival, share = self._rival(popularity, previous)
        content = [
            (1 - share)[:, None] * self.reliance[users, m, None] * self._content_weight(m, users, popularity)
            for m in range(len(self.cluster))
        ]
        return np.stack(content if rival is None else [*content, share[:, None] * rival])

    def _popularity_at(self, seconds: np.ndarray) -> np.ndarray:
        """Return (B, I); each row sums to 1, or to 0 before the first release."""
        if self.release is None:
            return np.broadcast_to(self.popularity, (len(seconds), len(self.popularity)))
        # All items fade at one rate, so exp(-t / 90 days) cancels: t decides only which items have appeared.
        released = self.release <= seconds[:, None] / DAY
        weights = self.popularity * np.exp(self.release / FADE_DAYS) * released
        shares: np.ndarray = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
        return shares

    def _content_weight(self, m: int, users: np.ndarray, popularity: np.ndarray) -> np.ndarray:
        """Return w_m(i), (B, I)."""
        member = self.cluster[m][:, None] == np.arange(self.interests[m].shape[1])  # (I, K)
        available = popularity * self.present[m]
        mass = available @ member.astype(np.float64)  # (B, K)
        shares = self.interests[m][users] / self.interests[m][users].sum(axis=1, keepdims=True)
        per_mass = np.divide(shares, mass, out=np.zeros_like(shares), where=mass > 0)
        weight: np.ndarray = available * per_mass[:, self.cluster[m]]
        return weight

    def _rival(self, popularity: np.ndarray, previous: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
        """Return the rival's w (B, I), or None, and its P(c) for each user (B,)."""
        share = np.full(len(previous), self.p_rival)
        if self.release is not None:
            return popularity, share
        if self.links is None:
            return None, np.zeros(len(previous))
        linked = np.zeros(popularity.shape)
        linked[np.arange(len(previous))[:, None], self.links[previous]] = 1 / self.links.shape[1]
        return linked, np.where(previous >= 0, share, 0.0)


def draw_links(items: int, random: np.random.Generator, count: int = LINKS) -> np.ndarray:
    """Draw ``count`` other items for each item, (I, count), whatever their content and popularity."""
    others = random.random((items, items - 1)).argpartition(count - 1, axis=1)[:, :count]
    return others + (others >= np.arange(items)[:, None])


def draw_seconds(lengths: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draw the times of each user, (U, longest), uniform over a year and rising; ignore columns beyond a length."""
    longest = int(lengths.max())
    seconds = random.integers(0, YEAR - longest, (len(lengths), longest))
    seconds[np.arange(longest) >= lengths[:, None]] = YEAR
    return np.sort(seconds, axis=1) + np.arange(longest)


def simulate_with_rival(process: RivalProcess, lengths: np.ndarray, random: np.random.Generator) -> Simulation:
    """Simulate ``lengths`` (U,) interactions; a user without any cause left chooses by popularity, without cause."""
    seconds = draw_seconds(lengths, random)
    blocks = [
        _simulate_block(process, lengths, seconds, users, random)
        for users in np.split(np.arange(len(lengths)), range(_USERS_AT_ONCE, len(lengths), _USERS_AT_ONCE))
    ]
    return Simulation(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))


def _simulate_block(
    process: RivalProcess, lengths: np.ndarray, seconds: np.ndarray, users: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, ...]:
    n_modalities = len(process.cluster)
    remaining = np.ones((len(users), len(process.popularity)))
    previous = np.full(len(users), -1)
    steps: list[tuple[np.ndarray, ...]] = []
    for step in range(int(lengths[users].max())):
        active = np.flatnonzero(lengths[users] > step)
        rows, times = np.arange(len(active)), seconds[users[active], step]
        joint = process.joint(users[active], times, previous[active]) * remaining[active]
        total = joint.sum(axis=0)
        stuck = total.sum(axis=1) <= _NO_WEIGHT
        total[stuck] = process.popularity * remaining[active[stuck]]
        joint[:, stuck] = 0.0
        item = draw_columns(total, random)
        posterior = (joint[:, rows, item] / total[rows, item]).T  # (B, C)
        cause = draw_columns(np.c_[posterior, stuck], random)
        caused = cause[:, None] == np.arange(n_modalities)
        remaining[active, item] = 0.0
        previous[active] = item
        steps.append((users[active], item, np.full(len(active), step), caused, posterior[:, :n_modalities], times))
    columns = [np.concatenate(parts) for parts in zip(*steps, strict=True)]
    order = np.lexsort((columns[2], columns[0]))
    return tuple(column[order] for column in columns)
