"""Popularity over time, and the popularity rival: what is around, new, or in season when an interaction happens.

p_g(i) = p_0(i) f_ig for periods g with equal numbers of interactions. f is a Poisson rate with a Gamma prior of mean 1,

    f_ig = (observed_ig + a) / (expected_ig + a),

over the period and its neighbours. The strength a and the width of the neighbourhood are chosen to maximise the
likelihood of each interaction given all others.

Shape suffixes: N training interactions, B further interactions, I items, G periods, P = G + 1: all time (0) and
the periods (1 to G), D columns of the features, K knots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from demure.model.group_sums import GroupSums, index_tensor
from demure.model.mass_product import CPU

if TYPE_CHECKING:
    from demure.data.histories import Histories

_MAX_PERIODS = 32
_PERIOD_INTERACTIONS = 200  # least number in a period
_STRENGTHS = (0.3, 1.0, 3.0, 10.0, 30.0)
_WIDTHS = (0, 1, 2, 4)
_RATE_STRENGTH = 3.0  # of the prior of the popularity rival's rates
_ENTRIES = 300_000_000  # items x periods held at once
_MIN_GAIN = 0.002  # nats per interaction that time must explain to be used
_KNOTS = 8  # of the regression on time
_MIN_INTERACTIONS, _MAX_WEIGHT = 3, 30  # of an item in that regression


@dataclass(frozen=True)
class Periods:
    """Periods of time and the popularity of the items in them.

    ``starts`` (G,): seconds at which periods 1 to G begin. ``popularity_factor_IP`` (I, P) float32: the popularity
    of an item in a period divided by its overall popularity; column 0 is all time. ``gain``: nats per interaction that
    time explains.
    ``width``, ``strength``: chosen number of neighbours and strength of the prior.
    """

    starts: np.ndarray
    popularity_factor_IP: np.ndarray
    gain: float
    width: int = 0
    strength: float = 1.0

    def assign(self, times: np.ndarray | None, count: int) -> np.ndarray:
        """Return the period (int64) of each of ``count`` interactions, 0 where time is unknown or not used."""
        if times is None or not len(self.starts):
            return np.zeros(count, np.int64)
        return np.searchsorted(self.starts, times, side="right").clip(min=1).astype(np.int64)


def fit_periods(item_N: np.ndarray, time_N: np.ndarray | None, n_items: int) -> Periods:
    """Return the periods of the training interactions; none where there are no times or they explain nothing."""
    none = Periods(np.zeros(0), np.ones((n_items, 1), np.float32), 0.0)
    count = min(_MAX_PERIODS, len(item_N) // _PERIOD_INTERACTIONS, _ENTRIES // max(n_items, 1))
    if time_N is None or count < 2:
        return none
    starts = np.unique(np.quantile(time_N, np.arange(count) / count, method="lower"))
    period_N = np.searchsorted(starts, time_N, side="right") - 1
    count_IG = np.zeros((n_items, len(starts)), np.float32)
    np.add.at(count_IG, (item_N, period_N), 1.0)
    total_I = count_IG.sum(1)
    best_gain, best = _MIN_GAIN, None
    for width in _WIDTHS:
        weight_GG = _neighbour_weights(len(starts), width)
        smooth_IG, size_G = count_IG @ weight_GG, weight_GG.T @ count_IG.sum(0)
        observed = smooth_IG[item_N, period_N] - 1.0  # without the interaction itself
        expected = (total_I[item_N] - 1.0) * (size_G[period_N] - 1.0) / max(len(item_N) - 1, 1)
        for strength in _STRENGTHS:
            gain = float(np.log((observed + strength) / (expected + strength)).mean())
            if gain > best_gain:
                best_gain, best = gain, (width, strength, smooth_IG, size_G)
    if best is None:
        return none
    width, strength, smooth_IG, size_G = best
    share_I = total_I / len(item_N)
    factor_IG = (smooth_IG + strength) / (share_I[:, None] * size_G + strength)
    factor_IG /= share_I @ factor_IG
    popularity_factor_IP = np.concatenate([np.ones((n_items, 1)), factor_IG], 1).astype(np.float32)
    return Periods(starts, popularity_factor_IP, best_gain, width, strength)


def remove_time_trend(vectors_ID: np.ndarray, present_I: np.ndarray, train: Histories) -> np.ndarray:
    """Return the features without their regression on the mean time of an item's interactions.

    This removes release dates and the like. Time is measured as the share of all interactions before; the regression is
    piecewise linear with a ridge penalty, over the items ``present_I`` with a few interactions; others keep their
    features.
    """
    n_items = len(vectors_ID)
    counts_I = np.bincount(train.items, minlength=n_items)
    used_I = present_I & (counts_I >= _MIN_INTERACTIONS)
    if train.times is None or used_I.sum() < 10 * _KNOTS:
        return vectors_ID
    share_N = np.searchsorted(np.sort(train.times), train.times, side="left") / len(train.times)
    mean_I = np.bincount(train.items, share_N, n_items) / np.maximum(counts_I, 1)
    knots = np.linspace(0, 1, _KNOTS)
    basis_IK = np.maximum(0.0, 1 - np.abs(mean_I[:, None] - knots) * (_KNOTS - 1))[used_I]
    weight_I1 = np.minimum(counts_I[used_I], _MAX_WEIGHT)[:, None]
    centred_ID = vectors_ID[used_I] - vectors_ID[present_I].mean(0)
    gram_KK = basis_IK.T @ (basis_IK * weight_I1) + np.eye(_KNOTS)
    trend_ID = basis_IK @ np.linalg.solve(gram_KK, basis_IK.T @ (centred_ID * weight_I1))
    detrended_ID = vectors_ID.copy()
    detrended_ID[used_I] -= trend_ID.astype(vectors_ID.dtype)
    return detrended_ID


def _neighbour_weights(periods: int, width: int) -> np.ndarray:
    """Return the weights (G, G) float32 of every period's neighbours, falling linearly to 0 beyond ``width``."""
    period = np.arange(periods)
    weight_GG: np.ndarray = np.maximum(0.0, 1 - np.abs(period[:, None] - period) / (width + 1)).astype(np.float32)
    return weight_GG


class Popularity:
    """The rival popularity: the cause of interactions that neither content nor another rival explains.

    Its items are not distributed like those of all interactions (content spreads them, popularity does not):
    p(i) / p_t(i) is a rate per item and period over the interactions that it caused. It is fitted on ``device``, in
    float64.
    """

    def __init__(self, item_N: np.ndarray, period_N: np.ndarray, periods: Periods, device: torch.device = CPU) -> None:
        n_items, n_periods = len(periods.popularity_factor_IP), max(len(periods.starts), 1)
        entry_N = item_N * np.int64(n_periods) + np.maximum(period_N - 1, 0)
        self._by_entry = GroupSums(index_tensor(entry_N, device), n_items * n_periods)
        neighbour_weight_GG = _neighbour_weights(n_periods, periods.width)
        self._neighbour_weight_GG = torch.as_tensor(neighbour_weight_GG).double().to(device)
        counts_I = np.bincount(item_N, minlength=n_items)
        share_I = counts_I / max(len(item_N), 1)
        factor_IG = periods.popularity_factor_IP[:, 1:] if len(periods.starts) else periods.popularity_factor_IP
        self._base_IG = torch.as_tensor(share_I[:, None] * factor_IG).to(device)
        leave_one_out_factor_N = np.maximum(1.0 - 1.0 / np.maximum(counts_I[item_N], 1), 0.0)
        self._leave_one_out_factor_N = torch.as_tensor(leave_one_out_factor_N).to(device)
        self._rate_IG = torch.ones_like(self._base_IG)

    def update(self, weight_N: Tensor) -> Tensor:
        """Fit to the interactions weighted by their responsibilities; return p(i) / p_t(i) of each (N,), left out."""
        entry_N = self._by_entry.group_N
        count_IG = self._by_entry(weight_N).view(self._base_IG.shape)
        size_G = count_IG.sum(0)
        observed_IG = count_IG @ self._neighbour_weight_GG
        expected_IG = (self._base_IG * size_G) @ self._neighbour_weight_GG
        self._rate_IG = (observed_IG + _RATE_STRENGTH) / (expected_IG + _RATE_STRENGTH)
        observed_N = observed_IG.view(-1).index_select(0, entry_N).sub_(weight_N).clamp_(min=0.0)
        expected_N = expected_IG.view(-1).index_select(0, entry_N).mul_(self._leave_one_out_factor_N)
        return observed_N.add_(_RATE_STRENGTH).div_(expected_N.add_(_RATE_STRENGTH))

    def state(self) -> dict[str, Tensor]:
        """Return the fitted arrays under their names in rivals.safetensors."""
        return {"_rate_IG": self._rate_IG}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Set the arrays of :meth:`state`."""
        self._rate_IG = state["_rate_IG"].to(self._base_IG.device)

    @property
    def rate_IG(self) -> np.ndarray:
        """p(i) / p_t(i) of every item in every period."""
        return self._rate_IG.cpu().numpy()

    def next_ratio(self, item_B: np.ndarray, period_B: np.ndarray) -> np.ndarray:
        """Return p(i) / p_t(i) (B,) of interactions after the training."""
        item, period = (
            torch.as_tensor(index).to(self._rate_IG.device) for index in (item_B, np.maximum(period_B - 1, 0))
        )
        return self._rate_IG[item, period].cpu().numpy()
