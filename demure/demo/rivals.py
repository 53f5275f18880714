"""Users whose choices content explains only in part, and the exact posterior of the cause of each choice.

At a time t within a year, a user chooses among the items not chosen before, by the weight of all causes together:

    P(i, c) proportional to P(c) w_c(i)

- a modality m has P(c) = (1 - ``p_rival``) * the user's reliance on m, and w_m(i) is the mean over the user's interests
  (clusters) of popularity within the cluster;
- a trend has P(c) = ``p_rival`` and w(i) = popularity at t. Items then appear during the year and popularity fades as
  exp(-age / 90 days), for the modalities too;
- a habit has P(c) = ``p_rival`` and w(i) = 1/6 for the items that are linked to the user's previous choice; a first
  choice has none.

No w_c is normalised again over the items that remain: a cause whose best items are taken causes less from then on. The
posterior of a cause is P(i, c) over its sum; it is exact, and so the ceiling of a diagnosis.

Shapes: B users of a block, C causes, M modalities, I items, K clusters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from demure.demo.choices import Choices, draw

DAY, YEAR = 86_400, 365 * 86_400
FADE_DAYS, FIRST_RELEASE, LAST_RELEASE = 90.0, -90.0, 365.0
LINKS = 6
_USERS_AT_ONCE = 128
_NOTHING = 1e-12


@dataclass(frozen=True)
class Process:
    """``popularity`` (I,), ``cluster`` (M, I), ``liked`` M times (U, K), ``present`` (M, I), ``reliance`` (U, M).

    ``release`` (I,) in days makes the rival a trend, ``links`` (I, 6) of item numbers makes it a habit; one at most.
    """

    popularity: np.ndarray
    cluster: np.ndarray
    liked: Sequence[np.ndarray]
    present: np.ndarray
    reliance: np.ndarray
    p_rival: float = 0.0
    release: np.ndarray | None = None
    links: np.ndarray | None = None

    def joint(self, users: np.ndarray, seconds: np.ndarray, previous: np.ndarray) -> np.ndarray:
        """Return P(c) w_c(i), (C, B, I): the modalities in order, then the rival if there is one.

        ``previous`` (B,) is the item that each user chose last, or -1.
        """
        popularity = self._popularity_at(seconds)
        rival, share = self._rival(popularity, previous)
        content = [
            (1 - share)[:, None] * self.reliance[users, m, None] * self._drawn_by(m, users, popularity)
            for m in range(len(self.cluster))
        ]
        return np.stack(content if rival is None else [*content, share[:, None] * rival])

    def _popularity_at(self, seconds: np.ndarray) -> np.ndarray:
        """(B, I), each row summing to 1 (or to 0 before the first release)."""
        if self.release is None:
            return np.broadcast_to(self.popularity, (len(seconds), len(self.popularity)))
        # All items fade at one rate, so exp(-t / 90 days) cancels: only which of them have appeared depends on t.
        weights = self.popularity * np.exp(self.release / FADE_DAYS) * (self.release <= seconds[:, None] / DAY)
        return weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)

    def _drawn_by(self, m: int, users: np.ndarray, popularity: np.ndarray) -> np.ndarray:
        member = self.cluster[m][:, None] == np.arange(self.liked[m].shape[1])  # (I, K)
        offered = popularity * self.present[m]
        mass = offered @ member.astype(np.float64)  # (B, K)
        liked = self.liked[m][users] / self.liked[m][users].sum(axis=1, keepdims=True)
        per_mass = np.divide(liked, mass, out=np.zeros_like(liked), where=mass > 0)
        return offered * per_mass[:, self.cluster[m]]

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
    """(I, count): for each item that many others, whatever their content and popularity."""
    others = random.random((items, items - 1)).argpartition(count - 1, axis=1)[:, :count]
    return others + (others >= np.arange(items)[:, None])


def draw_seconds(lengths: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(U, longest): when each user chooses, uniform over a year and rising; ignore columns beyond a length."""
    longest = int(lengths.max())
    seconds = random.integers(0, YEAR - longest, (len(lengths), longest))
    seconds[np.arange(longest) >= lengths[:, None]] = YEAR
    return np.sort(seconds, axis=1) + np.arange(longest)


def choose_by(process: Process, lengths: np.ndarray, random: np.random.Generator) -> Choices:
    """Let users choose ``lengths`` (U,) items; one with nothing left to go by chooses by popularity, without cause."""
    seconds = draw_seconds(lengths, random)
    blocks = [
        _choose_block(process, lengths, seconds, users, random)
        for users in np.split(np.arange(len(lengths)), range(_USERS_AT_ONCE, len(lengths), _USERS_AT_ONCE))
    ]
    return Choices(*(np.concatenate(parts) for parts in zip(*blocks, strict=True)))


def _choose_block(
    process: Process, lengths: np.ndarray, seconds: np.ndarray, users: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, ...]:
    n_modalities = len(process.cluster)
    left = np.ones((len(users), len(process.popularity)))
    previous = np.full(len(users), -1)
    steps: list[tuple[np.ndarray, ...]] = []
    for step in range(int(lengths[users].max())):
        active = np.flatnonzero(lengths[users] > step)
        rows, when = np.arange(len(active)), seconds[users[active], step]
        joint = process.joint(users[active], when, previous[active]) * left[active]
        total = joint.sum(axis=0)
        stuck = total.sum(axis=1) <= _NOTHING
        total[stuck] = process.popularity * left[active[stuck]]
        joint[:, stuck] = 0.0
        item = draw(total, random)
        posterior = (joint[:, rows, item] / total[rows, item]).T  # (B, C)
        cause = draw(np.c_[posterior, stuck], random)
        caused = cause[:, None] == np.arange(n_modalities)
        left[active, item] = 0.0
        previous[active] = item
        steps.append((users[active], item, np.full(len(active), step), caused, posterior[:, :n_modalities], when))
    columns = [np.concatenate(parts) for parts in zip(*steps, strict=True)]
    order = np.lexsort((columns[2], columns[0]))
    return tuple(column[order] for column in columns)
