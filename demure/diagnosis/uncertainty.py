"""Intervals of shares that rest on few choices."""

from __future__ import annotations

import numpy as np

from demure.diagnosis.verdict import INTERVAL_LEVEL


def share_interval(successes: float, total: float) -> tuple[float, float]:
    """Return the 90 % interval of the share that ``successes`` of ``total`` choices stand for.

    It is (0, 1) if ``total`` is 0. Jeffreys' Beta posterior, which also takes fractions (sums of probabilities): Brown,
    Cai and DasGupta, "Interval estimation for a binomial proportion", Statistical Science 2001.
    """
    low, high = share_intervals(np.array([successes]), total)[0]
    return float(low), float(high)


def share_intervals(successes: np.ndarray, total: float) -> np.ndarray:
    """Return :func:`share_interval` of each of ``successes`` (n,): (n, 2)."""
    from scipy.special import betaincinv

    if total <= 0:
        return np.tile([0.0, 1.0], (len(successes), 1))
    clipped = np.clip(np.asarray(successes, dtype=np.float64), 0.0, total)[:, None]
    tails = np.array([(1 - INTERVAL_LEVEL) / 2, (1 + INTERVAL_LEVEL) / 2])
    intervals: np.ndarray = betaincinv(clipped + 0.5, total - clipped + 0.5, tails)
    return intervals
