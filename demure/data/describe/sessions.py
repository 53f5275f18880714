"""Sessions of users, and suspicious users: crawlers, test accounts, shared accounts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demure.data.histories import Histories

BURST, BURST_SECONDS = 100, 60.0
METRONOME, METRONOME_GAPS = 0.05, 50
HEAVY, HEAVY_LEAST = 6.0, 100
CATALOGUE, CATALOGUE_LEAST = 0.2, 1000


@dataclass(frozen=True)
class Sessions:
    """Sequences of interactions of one user without a gap longer than ``gap_minutes``.

    ``median_length`` and ``longest``: interactions per session. ``single_share``: share of the sessions that have one
    interaction only.
    """

    gap_minutes: float
    sessions: int
    per_user: float
    median_length: float
    longest: int
    single_share: float


@dataclass(frozen=True)
class Suspect:
    """A user that does not look like a person, with the number of interactions and the reasons."""

    user_id: str
    interactions: int
    reasons: list[str]


def measure_sessions(histories: Histories, gap_minutes: float) -> Sessions:
    """Divide the histories, which have times, into sessions."""
    assert histories.times is not None
    n = len(histories.times)
    begins = np.ones(n, bool)
    begins[1:] = np.diff(histories.times) > 60 * gap_minutes
    starts = histories.indptr[:-1]
    begins[starts[starts < n]] = True
    sizes = np.diff(np.append(np.flatnonzero(begins), n))
    n_users = int((histories.lengths > 0).sum())
    return Sessions(
        gap_minutes,
        len(sizes),
        len(sizes) / max(1, n_users),
        float(np.median(sizes)),
        int(sizes.max()),
        float((sizes == 1).mean()),
    )


def find_suspects(histories: Histories, user_ids: np.ndarray, n_items: int) -> list[Suspect]:
    """Return the suspicious users, the one with the most interactions first.

    Reasons: ``BURST`` interactions within ``BURST_SECONDS``; at least ``METRONOME_GAPS`` gaps that hardly differ
    (standard deviation below ``METRONOME`` of the mean); at least ``HEAVY_LEAST`` interactions and ``HEAVY`` robust
    standard deviations of the logarithm above the median user; ``CATALOGUE`` of all items, and at least
    ``CATALOGUE_LEAST``.
    """
    lengths = histories.lengths
    reasons: dict[int, list[str]] = {}

    def add(users: np.ndarray, reason: str) -> None:
        for user in users.tolist():
            reasons.setdefault(user, []).append(reason)

    log = np.log(np.maximum(lengths, 1))
    spread = 1.4826 * float(np.median(np.abs(log - np.median(log))))  # the MAD of a normal distribution, as its sd
    is_heavy = (log - np.median(log)) > HEAVY * max(spread, 0.1)
    add(np.flatnonzero(is_heavy & (lengths >= HEAVY_LEAST)), "many times more than others")
    is_wide = (lengths >= CATALOGUE * n_items) & (lengths >= CATALOGUE_LEAST)
    add(np.flatnonzero(is_wide), f"over {CATALOGUE:.0%} of all items")
    times = histories.times
    if times is not None:
        starts = np.flatnonzero(times[BURST - 1 :] - times[: max(0, len(times) - BURST + 1)] <= BURST_SECONDS)
        owner = np.searchsorted(histories.indptr, starts, side="right") - 1
        is_of_one_user = starts + BURST <= histories.indptr[owner + 1]
        add(np.unique(owner[is_of_one_user]), f"{BURST} within {BURST_SECONDS:.0f} seconds")
        for user in np.flatnonzero(lengths > METRONOME_GAPS):
            gaps = np.diff(times[histories.indptr[user] : histories.indptr[user + 1]])
            if gaps.mean() > 0 and gaps.std() < METRONOME * gaps.mean():
                add(np.array([user]), "as regular as a clock")
    order = sorted(reasons, key=lambda user: (-int(lengths[user]), user))
    return [Suspect(str(user_ids[user]), int(lengths[user]), reasons[user]) for user in order]
