"""Popularity over time: periods where time explains choices, features without dates, and the rival."""

import numpy as np
import pytest
import torch
from support.histories_by_hand import histories

from demure.data.histories import Histories
from demure.model.popularity import Periods, Popularity, fit_periods, remove_time_trend

ITEMS = 60


def fading(n=6000, seed=0):
    """Items (n,) that come one after the other, each popular for a tenth of the time, and the times (n,)."""
    random = np.random.default_rng(seed)
    time = np.sort(random.uniform(0, 1000, n))
    item = np.rint(time / 1000 * (ITEMS - 1) + random.normal(0, 3, n)).clip(0, ITEMS - 1).astype(np.int64)
    return item, time


def test_where_popularity_stands_still_there_are_no_periods():
    random = np.random.default_rng(0)
    item, time = random.zipf(1.5, 6000) % ITEMS, random.uniform(0, 1000, 6000)
    periods = fit_periods(item, time, ITEMS)
    assert (len(periods.starts), periods.gain) == (0, 0.0)
    assert periods.popularity_factor_IP.tolist() == [[1.0]] * ITEMS
    assert periods.assign(time, 6000).tolist() == [0] * 6000


@pytest.mark.parametrize("shift", [0.0, 1.7e9])
def test_items_that_come_and_go_make_periods(shift):
    item, time = fading()
    periods = fit_periods(item, time + shift, ITEMS)
    assert periods.gain > 0.5
    assert periods.popularity_factor_IP.shape == (ITEMS, len(periods.starts) + 1)
    share = np.bincount(item, minlength=ITEMS) / len(item)
    np.testing.assert_allclose(share @ periods.popularity_factor_IP, 1, rtol=1e-5)
    assert (periods.popularity_factor_IP[:, 0] == 1).all()
    assert (periods.popularity_factor_IP > 0).all()
    assert periods.popularity_factor_IP[2, 1] > 5 > 0.2 > periods.popularity_factor_IP[2, -1]
    assert periods.popularity_factor_IP[-3, -1] > 5 > 0.2 > periods.popularity_factor_IP[-3, 1]


def test_without_times_or_with_few_choices_there_are_no_periods():
    item, time = fading()
    assert not len(fit_periods(item, None, ITEMS).starts)
    assert not len(fit_periods(item[:300], time[:300], ITEMS).starts)


def test_one_time_for_all_is_no_time():
    item, _ = fading()
    periods = fit_periods(item, np.full(len(item), 5.0), ITEMS)
    assert periods.assign(np.array([5.0]), 1).max() < periods.popularity_factor_IP.shape[1]
    assert periods.gain < 0.01


def test_the_period_of_a_time():
    """By hand: periods 1, 2 and 3 begin at 10, 20 and 30; what is before the first counts as the first."""
    periods = Periods(np.array([10.0, 20.0, 30.0]), np.ones((2, 4), np.float32), 0.1)
    assert periods.assign(np.array([3.0, 10.0, 19.9, 20.0, 99.0]), 5).tolist() == [1, 1, 1, 2, 3]
    assert periods.assign(None, 2).tolist() == [0, 0]


def dated(seed=0):
    """Features: the first column is the time at which an item is popular, bent, the second is unrelated."""
    random = np.random.default_rng(seed)
    item, time = fading(seed=seed)
    users = np.sort(random.integers(0, 300, len(item)))
    train = Histories(np.searchsorted(users, np.arange(301)), item, time)
    date = np.sin(np.arange(ITEMS) / ITEMS * 4)
    vectors = np.stack([date, random.normal(size=ITEMS)], 1).astype(np.float32)
    return vectors, train


def test_a_date_goes_and_the_rest_stays():
    vectors, train = dated()
    # Piecewise linear over 8 knots needs some items; each comes twice, in two columns of noise.
    many = np.concatenate([vectors, vectors])
    double = Histories(
        train.indptr, np.where(np.arange(len(train.items)) % 2, train.items, train.items + ITEMS), train.times
    )
    detrended = remove_time_trend(many, np.ones(2 * ITEMS, bool), double)
    dated_items = np.bincount(double.items, minlength=2 * ITEMS) >= 3
    assert dated_items.sum() > 100
    assert detrended[dated_items, 0].std() < 0.2 * many[dated_items, 0].std()
    assert np.corrcoef(detrended[dated_items, 1], many[dated_items, 1])[0, 1] > 0.85
    assert detrended[dated_items, 1].std() > 0.8 * many[dated_items, 1].std()
    assert detrended.dtype == many.dtype


def test_features_keep_their_dates_without_times():
    vectors, train = dated()
    present = np.ones(ITEMS, bool)
    assert np.array_equal(remove_time_trend(vectors, present, Histories(train.indptr, train.items)), vectors)
    few = Histories(np.array([0, 20]), train.items[:20], train.times[:20])
    assert np.array_equal(remove_time_trend(vectors, present, few), vectors)


def test_the_popularity_rival_has_its_own_rates():
    """Ten choices of each of two items; popularity caused all of item 0 and none of item 1: among its choices item 0 is
    twice as frequent as among all, up to the prior of 3 choices."""
    train = histories([[0, 1]] * 10, times=False)
    flat = Periods(np.zeros(0), np.ones((2, 1), np.float32), 0.0)
    model = Popularity(train.items, np.zeros(20, np.int64), flat)
    ratio = model.update(torch.as_tensor(train.items == 0).double()).numpy()
    # Ten choices by popularity, of which five of each item are expected; a choice itself is left out of both.
    assert ratio[0] == pytest.approx((9 + 3) / (5 * 0.9 + 3))
    assert ratio[1] == pytest.approx(3 / (5 * 0.9 + 3))
    np.testing.assert_allclose(model.next_ratio(np.array([0, 1]), np.zeros(2, np.int64)), [13 / 8, 3 / 8])


def test_a_state_is_restored():
    item, time = fading(2000)
    periods = fit_periods(item, time, ITEMS)
    period = periods.assign(time, len(time))
    fitted, restored = (Popularity(item, period, periods) for _ in range(2))
    fitted.update(torch.as_tensor(np.random.default_rng(0).random(len(item))))
    restored.restore(fitted.state())
    assert np.array_equal(fitted.next_ratio(item, period), restored.next_ratio(item, period))
