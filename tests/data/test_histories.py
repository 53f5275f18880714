"""Selecting, splitting, padding, grouping and counting of histories: nothing is lost, doubled or out of place."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from demure.data.histories import Histories


def histories(lengths):
    """Items are 0, 1, 2, ... through all users, so that an item is its position; times are ten times as large."""
    items = np.arange(sum(lengths))
    return Histories(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), items, 10.0 * items)


LENGTHS = st.lists(st.integers(0, 12), min_size=1, max_size=15).filter(any)


def lists(selected):
    return [selected.of(user).tolist() for user in range(len(selected.lengths))]


def test_lengths_owners_and_counts_by_hand():
    three = histories([3, 0, 1])
    assert three.lengths.tolist() == [3, 0, 1]
    assert three.owners.tolist() == [0, 0, 0, 2]
    assert Histories(np.array([0, 3]), np.array([2, 0, 2])).count_items(4).tolist() == [1, 0, 2, 0]


def test_users_by_hand():
    four = histories([3, 0, 1, 2])
    assert lists(four.slice_users(1, 4)) == [[], [3], [4, 5]]
    assert lists(four.select_users(np.array([3, 1, 0]))) == [[4, 5], [], [0, 1, 2]]
    assert lists(four.mask_users(np.array([True, True, False, False]))) == [[0, 1, 2], [], [], []]
    assert four.select_users(np.array([3])).times.tolist() == [40, 50]
    assert Histories(four.indptr, four.items).select_users(np.array([3])).times is None


@given(LENGTHS, st.randoms())
def test_selected_users_keep_their_histories(lengths, random):
    everyone = histories(lengths)
    users = np.array(random.sample(range(len(lengths)), random.randint(1, len(lengths))))
    assert lists(everyone.select_users(users)) == [everyone.of(user).tolist() for user in users]
    kept = np.isin(np.arange(len(lengths)), users)
    masked = everyone.mask_users(kept)
    assert lists(masked) == [everyone.of(user).tolist() if kept[user] else [] for user in range(len(lengths))]
    assert np.array_equal(masked.times, 10.0 * masked.items)


def test_parts_are_equal_and_as_few_as_can_be():
    whole = histories([0, 1, 5, 6, 11, 23])
    parts = whole.split_long(5)
    assert parts.lengths.tolist() == [0, 1, 5, 3, 3, 3, 4, 4, 4, 5, 4, 5, 5]
    assert set(whole.indptr) <= set(parts.indptr)
    assert np.array_equal(parts.items, whole.items)


def test_padded_by_hand():
    three = histories([3, 0, 1])
    assert three.padded(np.array([0, 1, 2])).tolist() == [[0, 1, 2], [-1, -1, -1], [3, -1, -1]]
    assert three.padded(np.array([2, 0]), longest=2).tolist() == [[3, -1], [1, 2]]
    assert three.padded(np.array([1])).tolist() == [[-1]]
    assert Histories(np.zeros(3, np.int64), np.zeros(0, np.int64)).padded(np.array([0, 1])).tolist() == [[-1], [-1]]


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 200), st.integers(1, 12), st.integers(1, 5), st.randoms())
def test_groups_take_every_user_once_and_keep_to_the_size(lengths, max_cells, longest, max_users, random):
    everyone = histories(lengths)
    users = np.array(random.sample(range(len(lengths)), random.randint(1, len(lengths))))
    groups = list(everyone.group_by_length(users, max_cells, longest, max_users))
    assert sorted(np.concatenate(groups).tolist()) == sorted(users.tolist())
    previous = 0
    for group in groups:
        in_group = np.minimum(everyone.lengths[group], longest)
        assert len(group) <= max_users
        assert len(group) == 1 or len(group) * max(1, in_group.max()) ** 2 <= max_cells
        assert (np.diff(in_group) >= 0).all()
        assert in_group[0] >= previous
        previous = in_group[-1]


def test_groups_are_not_smaller_than_need_be():
    assert [len(group) for group in histories([10] * 25).group_by_length(np.arange(25), 1000, 100)] == [10, 10, 5]


@given(LENGTHS, st.integers(1, 14))
@settings(deadline=None)
def test_the_last_interactions_of_each_user(lengths, longest):
    all_of_them = histories(lengths)
    last = all_of_them.last(longest)
    assert lists(last) == [items[-longest:] for items in lists(all_of_them)]
    users = np.arange(len(lengths))
    assert np.array_equal(last.padded(users), all_of_them.padded(users, longest))
    assert np.array_equal(last.times, 10.0 * last.items)
