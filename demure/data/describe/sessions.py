"""Sessions, and users who hardly are people."""

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
    """Runs of interactions of one user without a longer gap than ``gap_minutes``."""

    gap_minutes: float
    sessions: int
    per_user: float
    median_length: float
    longest: int
    single_share: float


@dataclass(frozen=True)
class Suspect:
    """A user, how many interactions they have, and why they hardly are a person."""

    user_id: str
    interactions: int
    reasons: list[str]


def sessions(histories: Histories, gap_minutes: float) -> Sessions:
    """``single_share``: share of the sessions with one interaction only."""
    assert histories.times is not None
    n = len(histories.times)
    begins = np.ones(n, bool)
    begins[1:] = np.diff(histories.times) > 60 * gap_minutes
    starts = histories.indptr[:-1]
    begins[starts[starts < n]] = True
    sizes = np.diff(np.append(np.flatnonzero(begins), n))
    users = int((histories.lengths > 0).sum())
    return Sessions(
        gap_minutes,
        len(sizes),
        len(sizes) / max(1, users),
        float(np.median(sizes)),
        int(sizes.max()),
        float((sizes == 1).mean()),
    )


def suspects(histories: Histories, user_ids: np.ndarray, n_items: int) -> list[Suspect]:
    """The users who are suspicious, those with most interactions first.

    Reasons: ``BURST`` interactions within ``BURST_SECONDS``; at least ``METRONOME_GAPS`` gaps that hardly differ
    (standard deviation below ``METRONOME`` of the mean); at least ``HEAVY_LEAST`` interactions and ``HEAVY`` robust
    deviations of the logarithm above the median user; ``CATALOGUE`` of all items, and at least ``CATALOGUE_LEAST``.
    """
    length = histories.lengths
    reasons: dict[int, list[str]] = {}

    def note(users: np.ndarray, words: str) -> None:
        for user in users.tolist():
            reasons.setdefault(user, []).append(words)

    log = np.log(np.maximum(length, 1))
    spread = 1.4826 * float(np.median(np.abs(log - np.median(log))))
    far = (log - np.median(log)) > HEAVY * max(spread, 0.1)
    note(np.flatnonzero(far & (length >= HEAVY_LEAST)), "many times more than others")
    wide = (length >= CATALOGUE * n_items) & (length >= CATALOGUE_LEAST)
    note(np.flatnonzero(wide), f"over {CATALOGUE:.0%} of all items")
    times = histories.times
    if times is not None:
        quick = np.flatnonzero(times[BURST - 1 :] - times[: max(0, len(times) - BURST + 1)] <= BURST_SECONDS)
        owner = np.searchsorted(histories.indptr, quick, side="right") - 1
        within = quick + BURST <= histories.indptr[owner + 1]
        note(np.unique(owner[within]), f"{BURST} within {BURST_SECONDS:.0f} seconds")
        for user in np.flatnonzero(length > METRONOME_GAPS):
            gaps = np.diff(times[histories.indptr[user] : histories.indptr[user + 1]])
            if gaps.mean() > 0 and gaps.std() < METRONOME * gaps.mean():
                note(np.array([user]), "as regular as a clock")
    order = sorted(reasons, key=lambda user: (-int(length[user]), user))
    return [Suspect(str(user_ids[user]), int(length[user]), reasons[user]) for user in order]
