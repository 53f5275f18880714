"""Padding, pieces, hiding and grouping: nothing is lost, doubled or out of place."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from demure.data.histories import Histories
from demure.training.batches import append, hide, pieces, shorter


def histories(lengths):
    """Items are 0, 1, 2, ... through all users, so that an item tells its place."""
    return Histories(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), np.arange(sum(lengths)))


LENGTHS = st.lists(st.integers(0, 12), min_size=1, max_size=15).filter(any)


def test_padded_by_hand():
    them = histories([3, 0, 1])
    assert them.padded(np.array([0, 1, 2])).tolist() == [[0, 1, 2], [-1, -1, -1], [3, -1, -1]]
    assert them.padded(np.array([2, 0]), longest=2).tolist() == [[3, -1], [1, 2]]
    assert them.padded(np.array([1])).tolist() == [[-1]]
    assert Histories(np.zeros(3, np.int64), np.zeros(0, np.int64)).padded(np.array([0, 1])).tolist() == [[-1], [-1]]


@settings(max_examples=50, deadline=None)
@given(LENGTHS, st.integers(1, 8), st.integers(0, 99))
def test_a_piece_is_a_run_of_the_history(lengths, longest, seed):
    """By the numbers of its interactions, whatever their items."""
    them = histories(lengths)
    users = np.flatnonzero(lengths)
    found = pieces(them, users, longest, torch.Generator().manual_seed(seed))
    for user, row in zip(users, found, strict=True):
        kept = row[row >= 0]
        assert len(kept) == min(lengths[user], longest)
        assert (row[: len(kept)] >= 0).all()
        assert them.indptr[user] <= kept[0]
        assert kept[-1] < them.indptr[user + 1]
        assert (np.diff(kept) == 1).all()


def test_a_piece_is_places_and_not_items():
    them = Histories(np.array([0, 3]), np.array([7, 7, 2]))
    assert pieces(them, np.array([0]), 5, torch.Generator().manual_seed(0)).tolist() == [[0, 1, 2]]


def test_every_piece_comes_up():
    them, generator = histories([5, 6]), torch.Generator().manual_seed(0)
    firsts = [pieces(them, np.array([0]), 3, generator)[0, 0] for _ in range(200)]
    share = np.bincount(firsts, minlength=3) / 200
    assert len(share) == 3
    np.testing.assert_allclose(share, 1 / 3, atol=0.12)


@settings(max_examples=50, deadline=None)
@given(LENGTHS, st.floats(0.01, 0.9), st.integers(0, 99))
def test_of_every_history_one_at_least_is_hidden(lengths, share, seed):
    them = histories(lengths)
    items = them.padded(np.flatnonzero(lengths))
    hidden = ~hide(items, share, torch.Generator().manual_seed(seed)).numpy() & (items >= 0)
    assert (hidden.sum(1) >= 1).all()
    again = ~hide(items, share, torch.Generator().manual_seed(seed)).numpy() & (items >= 0)
    assert np.array_equal(hidden, again)


def test_the_share_that_is_hidden():
    known = hide(histories([50] * 200).padded(np.arange(200)), 0.3, torch.Generator().manual_seed(0))
    assert float((~known).float().mean()) == pytest.approx(0.3, abs=0.02)


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 200), st.integers(1, 12), st.integers(1, 5), st.randoms())
def test_groups_take_every_user_once_and_keep_to_the_size(lengths, cells, longest, most, random):
    them = histories(lengths)
    users = np.array(random.sample(range(len(lengths)), random.randint(1, len(lengths))))
    groups = list(them.group_by_length(users, cells, longest, most))
    assert sorted(np.concatenate(groups).tolist()) == sorted(users.tolist())
    previous = 0
    for group in groups:
        length = np.minimum(them.lengths[group], longest)
        assert len(group) <= most
        assert len(group) == 1 or len(group) * max(1, length.max()) ** 2 <= cells
        assert (np.diff(length) >= 0).all()
        assert length[0] >= previous
        previous = length[-1]


def test_groups_are_not_smaller_than_need_be():
    assert [len(group) for group in histories([10] * 25).group_by_length(np.arange(25), 1000, 100)] == [10, 10, 5]


def test_counts_and_append_by_hand():
    assert Histories(np.array([0, 3]), np.array([2, 0, 2])).count_items(4).tolist() == [1, 0, 2, 0]
    items, known = append(np.array([[5, 6, -1], [7, -1, -1], [-1, -1, -1]]), np.array([1, 2, 3]))
    assert items.tolist() == [[5, 6, 1, -1], [7, 2, -1, -1], [3, -1, -1, -1]]
    assert np.argwhere(~known).tolist() == [[0, 2], [1, 1], [2, 0]]


def test_groups_of_like_length_hold_each_row_once_and_pay(monkeypatch):
    from demure.training import batches

    random = np.random.default_rng(0)
    for most in (1, 3, 40):
        length = random.integers(0, most + 1, 30)
        items = np.where(np.arange(most) < length[:, None], 7, -1)
        for cost in (0, 50, 10**9):
            monkeypatch.setattr(batches, "_GROUP_CELLS", cost)
            groups = shorter(items)
            assert sorted(np.concatenate(groups)) == list(range(30))
            assert all(length[a].max() <= length[b].min() for a, b in pairwise(groups))
            cells = sum(len(group) * max(length[group].max(), 1) ** 2 for group in groups)
            whole = 30 * max(length.max(), 1) ** 2
            assert cells + cost * (len(groups) - 1) <= whole
            assert len(groups) == 1 if cost == 10**9 else cells == (length.clip(1) ** 2).sum() or cost
    assert shorter(np.empty((0, 3), np.int64)) == []
