import numpy as np
import pytest

from demure.diagnosis.drift import drift
from demure.diagnosis.uncertainty import share_interval

NAMES = ["image", "text"]


def history(image, present=None):
    image = np.asarray(image, dtype=float)
    probability = np.stack([image, np.full(len(image), 0.5)], 1)
    there = np.ones_like(probability, bool) if present is None else present
    return probability, there, NAMES, 1000.0 * np.arange(len(image))


def test_a_lasting_change_is_found_where_it_happened():
    change = drift(*history([0.9] * 10 + [0.1] * 10))
    assert (change.modality, change.position, change.time) == ("image", 10, 10_000.0)
    assert (change.before, change.after) == pytest.approx((0.9, 0.1))
    assert change.p_value < 0.01


def test_positions_count_missing_ones():
    probability, there, names, times = history([0.9] * 10 + [0.0] * 3 + [0.1] * 10)
    there[10:13, 0] = False
    assert drift(probability, there, names, times).position == 13


def test_no_drift_without_a_lasting_change():
    assert drift(*history([0.9] * 5 + [0.1] * 5)) is None  # too short
    assert drift(*history([0.7] * 30)) is None
    assert drift(*history([0.05] * 15 + [0.01] * 15)) is None  # certain, and of no interest
    probability, there, names, _ = history([0.9] * 10 + [0.1] * 10)
    assert drift(probability, there, names, None) is None  # no order
    assert drift(probability, there, names, np.full(20, np.nan)) is None


def test_chance_is_reported_as_drift_as_rarely_as_promised():
    random = np.random.default_rng(0)
    reported = sum(drift(*history(random.uniform(size=30))) is not None for _ in range(200))
    assert reported <= 20  # 5 % of 200 is 10; more than 20 has a chance below .002


def test_the_same_history_gives_the_same_drift():
    series = np.random.default_rng(3).uniform(size=40)
    series[25:] *= 0.3
    assert drift(*history(series)) == drift(*history(series))


def test_intervals_narrow_with_choices_and_hold_their_share():
    few, many = share_interval(2, 4), share_interval(200, 400)
    assert few[0] < 0.5 < few[1]
    assert many[1] - many[0] < (few[1] - few[0]) / 5
    assert share_interval(0, 0) == (0.0, 1.0)
    low, high = share_interval(9.4, 10.0)
    assert 0 <= low < 0.94 < high <= 1
    random = np.random.default_rng(0)
    held = [share_interval(random.binomial(20, 0.3), 20) for _ in range(2000)]
    assert np.mean([low <= 0.3 <= high for low, high in held]) == pytest.approx(0.9, abs=0.05)
