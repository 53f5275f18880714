"""Popularity over time: what is around, new, or in season when an interaction happens.

p_g(i) = p_0(i) f_ig for periods g of equal numbers of interactions. f is a Poisson rate with a Gamma prior of mean 1,
(observed + a) / (expected + a), over the period and its neighbours; a and the width are those under which each
interaction is told best by all the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from demure.data.histories import Histories

_PERIODS = 32
_STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)
_WIDTHS = (0, 1, 2, 4)
_RATE = 3.0
_KNOTS, _KNOWN, _MOST = 8, 3, 30
_ENTRIES = 300_000_000  # items x periods held at once
_GAIN = 0.002  # nats an interaction that time has to tell to be looked at


@dataclass(frozen=True)
class Periods:
    """``starts`` (G,) seconds at which periods 1 to G begin; ``factor_IG`` (I, G + 1) float32, how much more popular an
    item was in a period than on the whole, column 0 being the whole; ``gain`` nats per interaction that time tells."""

    starts: np.ndarray
    factor_IG: np.ndarray
    gain: float
    width: int = 0
    strength: float = 1.0

    def of(self, times: np.ndarray | None, count: int) -> np.ndarray:
        """The period (int64) of each of ``count`` interactions; 0 where nothing is known of time."""
        if times is None or not len(self.starts):
            return np.zeros(count, np.int64)
        return np.searchsorted(self.starts, times, side="right").clip(min=1).astype(np.int64)


def by_period(item_N: np.ndarray, time_N: np.ndarray | None, n_items: int) -> Periods:
    """The periods of the training interactions; none where there are no times or they tell nothing."""
    none = Periods(np.zeros(0), np.ones((n_items, 1), np.float32), 0.0)
    wanted = min(_PERIODS, len(item_N) // 200, _ENTRIES // max(n_items, 1))
    if time_N is None or wanted < 2:
        return none
    starts = np.unique(np.quantile(time_N, np.arange(wanted) / wanted, method="lower"))
    period_N = np.searchsorted(starts, time_N, side="right") - 1
    count_IG = np.zeros((n_items, len(starts)), np.float32)
    np.add.at(count_IG, (item_N, period_N), 1.0)
    total_I = count_IG.sum(1)
    best, chosen = _GAIN, None
    for width in _WIDTHS:
        weight = _near(len(starts), width)
        smooth_IG, size_G = count_IG @ weight, weight.T @ count_IG.sum(0)
        observed = smooth_IG[item_N, period_N] - 1.0
        expected = (total_I[item_N] - 1.0) * (size_G[period_N] - 1.0) / max(len(item_N) - 1, 1)
        for a in _STRENGTHS:
            gain = float(np.log((observed + a) / (expected + a)).mean())
            if gain > best:
                best, chosen = gain, (width, a, smooth_IG, size_G)
    if chosen is None:
        return none
    width, a, smooth_IG, size_G = chosen
    share_I = total_I / len(item_N)
    factor_IG = (smooth_IG + a) / (share_I[:, None] * size_G + a)
    factor_IG /= share_I @ factor_IG
    return Periods(starts, np.concatenate([np.ones((n_items, 1)), factor_IG], 1).astype(np.float32), best, width, a)


def without_time(vectors_ID: np.ndarray, present_I: np.ndarray, train: Histories) -> np.ndarray:
    """Features (I, d) without what tells when an item is chosen, release dates and the like: less their regression on
    the mean time of its choices, as a share of all (ridge, piecewise linear, over items with some choices)."""
    n_items = len(vectors_ID)
    counts_I = np.bincount(train.items, minlength=n_items)
    known_I = present_I & (counts_I >= _KNOWN)
    if train.times is None or known_I.sum() < 10 * _KNOTS:
        return vectors_ID
    share_N = np.searchsorted(np.sort(train.times), train.times, side="left") / len(train.times)
    mean_I = np.bincount(train.items, share_N, n_items) / np.maximum(counts_I, 1)
    basis_IK = np.maximum(0.0, 1 - np.abs(mean_I[:, None] - np.linspace(0, 1, _KNOTS)) * (_KNOTS - 1))[known_I]
    weight_I1 = np.minimum(counts_I[known_I], _MOST)[:, None]
    centred = vectors_ID[known_I] - vectors_ID[present_I].mean(0)
    gram = basis_IK.T @ (basis_IK * weight_I1) + np.eye(_KNOTS)
    told = basis_IK @ np.linalg.solve(gram, basis_IK.T @ (centred * weight_I1))
    found = vectors_ID.copy()
    found[known_I] -= told.astype(vectors_ID.dtype)
    return found


def _near(periods: int, width: int) -> np.ndarray:
    """Weights (G, G) float32 of a period's neighbours."""
    at = np.arange(periods)
    return np.maximum(0.0, 1 - np.abs(at[:, None] - at) / (width + 1)).astype(np.float32)


class Popularity:
    """The cause of a choice that neither content nor another rival explains: popular at that time.

    Its items are not those of all choices (content's choices spread, popularity's do not): p(i) / p_t(i) is a rate over
    the choices that it caused, by period.
    """

    def __init__(self, item_N: np.ndarray, period_N: np.ndarray, periods: Periods) -> None:
        self._item, self._period = item_N, np.maximum(period_N - 1, 0)
        self._periods = periods
        self._near = _near(max(len(periods.starts), 1), periods.width)
        counts_I = np.bincount(item_N, minlength=len(periods.factor_IG))
        self._share_I = counts_I / max(len(item_N), 1)
        factor_IG = periods.factor_IG[:, 1:] if len(periods.starts) else periods.factor_IG
        self._base_IG = self._share_I[:, None] * factor_IG
        self._less_N = np.maximum(1.0 - 1.0 / np.maximum(counts_I[item_N], 1), 0.0)
        self._rate_IG = np.ones_like(self._base_IG)

    def update(self, weight_N: np.ndarray) -> np.ndarray:
        """Count every choice with its responsibility ``weight_N``, and return p(i) / p_t(i) of each (N,)."""
        count_IG = np.zeros(self._base_IG.shape)
        np.add.at(count_IG, (self._item, self._period), weight_N)
        size_G = count_IG.sum(0)
        observed_IG, expected_IG = count_IG @ self._near, (self._base_IG * size_G) @ self._near
        self._rate_IG = (observed_IG + _RATE) / (expected_IG + _RATE)
        at = self._item, self._period
        observed_N = np.maximum(observed_IG[at] - weight_N, 0.0)
        ratio_N: np.ndarray = (observed_N + _RATE) / (expected_IG[at] * self._less_N + _RATE)
        return ratio_N

    def state(self) -> dict[str, np.ndarray]:
        """What was fitted."""
        return {name: getattr(self, name) for name in ("_rate_IG",)}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Take up a :meth:`state`."""
        for name, array in state.items():
            setattr(self, name, array)

    def after(self, item_B: np.ndarray, period_B: np.ndarray) -> np.ndarray:
        """The same ratio (B,) for choices that follow the training."""
        found: np.ndarray = self._rate_IG[item_B, np.maximum(period_B - 1, 0)]
        return found
