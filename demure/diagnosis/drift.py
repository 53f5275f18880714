"""Drift: from when on a user chooses for other reasons. At most one change point per history, by permutation test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from demure.diagnosis.verdict import DRIFT_MIN_CHANGE, DRIFT_MIN_CHOICES, DRIFT_MIN_SIDE, DRIFT_P_VALUE

_PERMUTATIONS = 999


@dataclass(frozen=True)
class Drift:
    """From the choice at ``position`` (``time`` in seconds, or NaN) on, ``modality`` was a point of interest with mean
    probability ``after`` instead of ``before``. ``p_value`` after Bonferroni's correction for the modalities."""

    modality: str
    position: int
    time: float
    before: float
    after: float
    p_value: float


def drift(
    probability: np.ndarray, present: np.ndarray, modalities: list[str], times: np.ndarray | None
) -> Drift | None:
    """Return the most significant change in one user's history, or None where there is none.

    ``probability`` (T, M) of a point of interest in time order, ``present`` (T, M); ``times`` (T,), None where the data
    has no order. For each modality that at least 12 of the choices have: the largest standardised difference of means
    between a beginning and the rest (at least 4 choices each), against 999 random orders of the same probabilities.
    Reported if p < .05, corrected for the number of modalities tested, and the means differ by .1 or more: a change
    from .01 to .00 may be certain and is of no interest. This is the cumulative-sum statistic with its permutation test
    (Antoch and Huskova, "Permutation tests in change point analysis", 2001). It distinguishes a lasting change from
    chance, not from a few long sessions.
    """
    if times is None or np.isnan(times).any():
        return None
    tested = [m for m in range(len(modalities)) if present[:, m].sum() >= DRIFT_MIN_CHOICES]
    best: Drift | None = None
    for m in tested:
        positions = np.flatnonzero(present[:, m])
        values = probability[positions, m].astype(np.float64)
        if np.ptp(values) < 1e-9:
            continue
        statistic, split = _largest_difference(values[None])
        permuted = np.random.default_rng(0).permuted(np.tile(values, (_PERMUTATIONS, 1)), axis=1)
        as_large = int((_largest_difference(permuted)[0] >= statistic[0] - 1e-12).sum())
        p = min(1.0, len(tested) * (as_large + 1) / (_PERMUTATIONS + 1))
        k = int(split[0])
        before, after = float(values[:k].mean()), float(values[k:].mean())
        reported = p < DRIFT_P_VALUE and abs(after - before) >= DRIFT_MIN_CHANGE
        if reported and (best is None or p < best.p_value):
            first = int(positions[k])
            best = Drift(modalities[m], first, float(times[first]), before, after, p)
    return best


def _largest_difference(values_BT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return of each row the largest |difference of means| sqrt(k (T - k) / T) over splits k, and that k: both (B,).

    Shapes: B histories, T choices.
    """
    T = values_BT.shape[1]
    k = np.arange(DRIFT_MIN_SIDE, T - DRIFT_MIN_SIDE + 1)
    sums = values_BT.cumsum(1)
    before = sums[:, k - 1] / k
    after = (sums[:, -1:] - sums[:, k - 1]) / (T - k)
    size = np.abs(after - before) * np.sqrt(k * (T - k) / T)
    best = size.argmax(1)
    return size[np.arange(len(size)), best], k[best]
