"""How sure is sure enough: what short histories, middling probabilities and shares of few choices are worth."""

from __future__ import annotations

import numpy as np

FEW = 5
_UNDECIDED = (35, 65)
_LEVEL = 0.9


def undecided(probability: float) -> bool:
    """Whether a probability, in whole per cent, lies strictly between 35 and 65: the verdict could be either."""
    return _UNDECIDED[0] < round(100 * probability) < _UNDECIDED[1]


def probability_of(verdict: str, poi_probability: float) -> float:
    """The probability of the word ``verdict`` itself: that of ``noise`` is one minus that of a point of interest."""
    return 1 - poi_probability if verdict == "noise" else poi_probability


def share_interval(successes: float, of: float) -> tuple[float, float]:
    """90 % interval of the share that ``successes`` of ``of`` choices stand for: Jeffreys' Beta posterior, which takes
    fractions (sums of probabilities) as they are. (0, 1) where there is nothing to take a share of.

    Brown, Cai and DasGupta, "Interval estimation for a binomial proportion", Statistical Science 2001.
    """
    low, high = share_intervals(np.array([successes]), of)[0]
    return float(low), float(high)


def share_intervals(successes: np.ndarray, of: float) -> np.ndarray:
    """``share_interval`` of each of ``successes`` (n,): (n, 2)."""
    from scipy.special import betaincinv

    if of <= 0:
        return np.tile([0.0, 1.0], (len(successes), 1))
    kept = np.clip(np.asarray(successes, dtype=np.float64), 0.0, of)[:, None]
    return betaincinv(kept + 0.5, of - kept + 0.5, np.array([(1 - _LEVEL) / 2, (1 + _LEVEL) / 2]))
