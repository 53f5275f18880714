"""Pieces, hiding and grouping of histories: nothing is lost, doubled or out of place."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from demure.data.histories import Histories
from demure.training.batches import append_targets, draw_observed, draw_pieces, group_similar_lengths


def histories(lengths):
    """Items are 0, 1, 2, ... through all users, so that an item is its own position."""
    return Histories(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), np.arange(sum(lengths)))


LENGTHS = st.lists(st.integers(0, 12), min_size=1, max_size=15).filter(any)


@settings(max_examples=50, deadline=None)
@given(LENGTHS, st.integers(1, 8), st.integers(0, 99))
def test_a_piece_is_a_run_of_the_history(lengths, longest, seed):
    """By the numbers of its interactions, whatever their items."""
    data = histories(lengths)
    users = np.flatnonzero(lengths)
    drawn = draw_pieces(data, users, longest, torch.Generator().manual_seed(seed))
    for user, row in zip(users, drawn, strict=True):
        kept = row[row >= 0]
        assert len(kept) == min(lengths[user], longest)
        assert (row[: len(kept)] >= 0).all()
        assert data.indptr[user] <= kept[0]
        assert kept[-1] < data.indptr[user + 1]
        assert (np.diff(kept) == 1).all()


def test_a_piece_holds_positions_and_not_items():
    data = Histories(np.array([0, 3]), np.array([7, 7, 2]))
    assert draw_pieces(data, np.array([0]), 5, torch.Generator().manual_seed(0)).tolist() == [[0, 1, 2]]


def test_every_piece_comes_up():
    data, generator = histories([5, 6]), torch.Generator().manual_seed(0)
    firsts = [draw_pieces(data, np.array([0]), 3, generator)[0, 0] for _ in range(200)]
    share = np.bincount(firsts, minlength=3) / 200
    assert len(share) == 3
    np.testing.assert_allclose(share, 1 / 3, atol=0.12)


@settings(max_examples=50, deadline=None)
@given(LENGTHS, st.floats(0.01, 0.9), st.integers(0, 99))
def test_of_every_history_one_at_least_is_hidden(lengths, share, seed):
    data = histories(lengths)
    items = data.padded(np.flatnonzero(lengths))
    masked = ~draw_observed(items, share, torch.Generator().manual_seed(seed)).numpy() & (items >= 0)
    assert (masked.sum(1) >= 1).all()
    again = ~draw_observed(items, share, torch.Generator().manual_seed(seed)).numpy() & (items >= 0)
    assert np.array_equal(masked, again)


def test_the_share_that_is_hidden():
    observed = draw_observed(histories([50] * 200).padded(np.arange(200)), 0.3, torch.Generator().manual_seed(0))
    assert float((~observed).float().mean()) == pytest.approx(0.3, abs=0.02)


def test_append_by_hand():
    items, observed = append_targets(np.array([[5, 6, -1], [7, -1, -1], [-1, -1, -1]]), np.array([1, 2, 3]))
    assert items.tolist() == [[5, 6, 1, -1], [7, 2, -1, -1], [3, -1, -1, -1]]
    assert np.argwhere(~observed).tolist() == [[0, 2], [1, 1], [2, 0]]


def test_groups_of_similar_length_hold_each_row_once_and_save_cells():
    random = np.random.default_rng(0)
    for most in (1, 3, 40):
        length = random.integers(0, most + 1, 30)
        items = np.where(np.arange(most) < length[:, None], 7, -1)
        for cost in (0, 50, 10**9):
            groups = group_similar_lengths(items, cost)
            assert sorted(np.concatenate(groups)) == list(range(30))
            assert all(length[a].max() <= length[b].min() for a, b in pairwise(groups))
            cells = sum(len(group) * max(length[group].max(), 1) ** 2 for group in groups)
            whole = 30 * max(length.max(), 1) ** 2
            assert cells + cost * (len(groups) - 1) <= whole
            assert len(groups) == 1 if cost == 10**9 else cells == (length.clip(1) ** 2).sum() or cost
    assert group_similar_lengths(np.empty((0, 3), np.int64)) == []
