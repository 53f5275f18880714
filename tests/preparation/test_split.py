"""Splits and cores, by hand and against slow references."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demure.data.splits import leave_one_out, split_by_ratio, split_by_time
from demure.preparation.kcore import k_core


def test_leave_one_out_by_hand():
    assert leave_one_out(np.array([0, 1, 1, 2, 2, 2, 4, 4, 4, 4])).tolist() == [0, 0, 0, 0, 1, 2, 0, 0, 1, 2]


def test_ratio_by_hand():
    users = np.repeat([0, 1, 2, 3], [2, 3, 10, 25])
    split = split_by_ratio(users, timed=True, seed=0)
    assert split[:5].tolist() == [0, 0, 0, 1, 2]
    assert split[5:15].tolist() == [0] * 8 + [1, 2]
    assert split[15:].tolist() == [0] * 19 + [1] * 3 + [2] * 3


def test_ratio_by_chance():
    users = np.repeat(np.arange(200), 20)
    split, again, other = (split_by_ratio(users, timed=False, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(split, again)
    assert not np.array_equal(split, other)
    per_user = [np.bincount(part, minlength=3).tolist() for part in split.reshape(200, 20)]
    assert per_user == [[16, 2, 2]] * 200
    # Each place is as likely to be held out as any other: 200 draws of 2 in 20.
    assert abs((split.reshape(200, 20) == 2).mean(axis=0) - 0.1).max() < 0.08


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (range(10), [0] * 8 + [1, 2]),
        (range(9, -1, -1), [2, 1] + [0] * 8),
        ([0, 0, 0, 0, 0, 0, 0, 5, 5, 5], [0] * 7 + [2] * 3),
        ([0, 1, 2, 3, 4, 5, 6, 7, 7, 9], [0] * 7 + [1] * 2 + [2]),
    ],
)
def test_time_by_hand(times, expected):
    assert split_by_time(np.array(times, float)).tolist() == expected


def slow_core(pairs, k):
    """Remove one interaction of a user or item with fewer than k at a time, until there is none."""
    left = set(range(len(pairs)))
    while True:
        bad = next(
            (n for n in sorted(left) for side in (0, 1) if sum(pairs[m][side] == pairs[n][side] for m in left) < k),
            None,
        )
        if bad is None:
            return left
        left.remove(bad)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=30, unique=True), st.integers(0, 4))
def test_core_is_that_of_the_slow_way(pairs, k):
    users, items = np.array([p[0] for p in pairs], np.int64), np.array([p[1] for p in pairs], np.int64)
    assert set(np.flatnonzero(k_core(users, items, k))) == slow_core(pairs, k)
