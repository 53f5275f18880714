"""How sure is sure enough: what short histories, middling probabilities and shares of few choices are worth."""

from __future__ import annotations

import numpy as np

FEW = 5
_UNDECIDED = (35, 65)
_LEVEL = 0.9


def undecided(probability: float) -> bool:
    """Whether a probability, in whole per cent, lies strictly between 35 and 65: the verdict could be either."""
    return _UNDECIDED[0] < round(100 * probability) < _UNDECIDED[1]


def share_interval(successes: float, of: float) -> tuple[float, float]:
    """90 % interval of the share that ``successes`` of ``of`` choices stand for: Jeffreys' Beta posterior, which takes
    fractions (sums of probabilities) as they are. (0, 1) where there is nothing to take a share of.

    Brown, Cai and DasGupta, "Interval estimation for a binomial proportion", Statistical Science 2001.
    """
    from scipy.stats import beta

    if of <= 0:
        return 0.0, 1.0
    successes = float(np.clip(successes, 0.0, of))
    low, high = beta.ppf([(1 - _LEVEL) / 2, (1 + _LEVEL) / 2], successes + 0.5, of - successes + 0.5)
    return float(low), float(high)
