"""Rivals beside the content: fitted together, the same again, and kept for a training that goes on."""

import numpy as np
import pytest
import torch
from support.histories_by_hand import histories as histories_of
from support.small_models import ITEMS, small_denoiser

from demure.data.histories import Histories
from demure.errors import RunError
from demure.model.mass_product import CPU
from demure.training.rivals import Rivals

USERS = 60
LINK = (5, 33)


def linked(seed=0):
    """Half of the users chose 33 right after 5; everything else is chance."""
    random = np.random.default_rng(seed)
    rows = []
    for user in range(USERS):
        row = random.choice(np.setdiff1d(np.arange(ITEMS), LINK), 8, replace=False)
        if user % 2:
            row[3:5] = LINK
        rows.append(row)
    return histories_of(rows)


def fitted(train=None, seed=0, times=1):
    rivals, denoiser = Rivals(linked() if train is None else train, ITEMS, seed), small_denoiser()
    for _ in range(times):
        rivals.fit(denoiser)
    return rivals


@pytest.fixture(scope="module")
def rivals():
    return fitted()


def next_choices(rivals, item=LINK[1], length=4):
    """Every user's first choices and then ``item``."""
    users = np.arange(USERS)
    positions = rivals.train.interaction_indices(users)[:, :length]
    return rivals.side_information_with_next(positions, users, np.full(USERS, item), None)


def test_before_the_fit_there_are_no_ratios():
    flat = Rivals(linked(), ITEMS, 0)
    assert flat.ratio_NR is None
    side = flat.side_information(np.array([[0, 1, -1]]))
    assert side.rival_ratio_BTR is None
    assert side.period_BT.tolist() == [[0, 0, 0]]
    assert next_choices(flat).rival_ratio_BTR is None


def test_every_training_choice_has_three_ratios(rivals):
    assert rivals.ratio_NR.shape == (USERS * 8, 3)
    assert rivals.ratio_NR.dtype == np.float32
    assert np.isfinite(rivals.ratio_NR).all()
    assert (rivals.ratio_NR > 0).all()


def test_a_link_is_the_transitions(rivals):
    follows = rivals.train.items == LINK[1]
    assert np.median(rivals.ratio_NR[follows, 1]) > 3
    assert np.median(rivals.ratio_NR[~follows, 1]) < 1.5


def test_the_side_information_of_a_batch_is_that_of_its_choices(rivals):
    positions = np.array([[3, 4, -1], [10, -1, -1]])
    side = rivals.side_information(positions)
    assert np.array_equal(side.rival_ratio_BTR.numpy()[positions >= 0], rivals.ratio_NR[[3, 4, 10]])
    assert side.period_BT.shape == (2, 3)


def test_the_next_choice_is_predicted_by_the_choices_before_it(rivals):
    """33 is to be expected after 5, at the end of the histories that have it; others are not."""
    users = np.arange(USERS)
    ratios = next_choices(rivals).rival_ratio_BTR.numpy()
    assert ratios.shape == (USERS, 5, 3)
    assert np.array_equal(ratios[:, :4], rivals.ratio_NR[rivals.train.interaction_indices(users)[:, :4]])
    assert ratios[1::2, 4, 1].min() > 3
    assert ratios[::2, 4, 1].max() < 2
    other = next_choices(rivals, item=20).rival_ratio_BTR.numpy()
    assert other[1::2, 4, 1].max() < 2


def test_histories_of_other_lengths_have_the_new_choice_at_their_end(rivals):
    positions, items = np.array([[0, 1, 2], [8, -1, -1], [-1, -1, -1]]), np.array([1, 2, 3])
    together = rivals.side_information_with_next(positions, np.arange(3), items, None).rival_ratio_BTR
    assert np.array_equal(together[0, :3].numpy(), rivals.ratio_NR[:3])
    for row, length in enumerate([3, 1, 0]):
        own = slice(row, row + 1)
        alone = rivals.side_information_with_next(positions[own, :length], np.array([row]), items[own], None)
        assert torch.equal(together[row, : length + 1], alone.rival_ratio_BTR[0])
    assert together[2, 0, 1] == 1  # nothing before it


def test_a_users_own_choices_are_no_evidence_for_a_taste():
    """Each user has two items that nobody else has; whoever fits the user's own choices finds a taste in them."""
    random = np.random.default_rng(0)
    rows = [random.choice(ITEMS, 7, replace=False) for _ in range(USERS)]
    taste = np.log(fitted(histories_of(rows, times=False)).ratio_NR[:, 2])
    assert taste.mean() < 0.02


def test_the_seed_decides_every_number(rivals):
    again = fitted()
    assert np.array_equal(again.ratio_NR, rivals.ratio_NR)
    assert not np.array_equal(fitted(seed=1).ratio_NR, rivals.ratio_NR)


def test_saved_and_read_back_they_predict_the_same(rivals, tmp_path):
    rivals.save(tmp_path / "rivals.safetensors")
    again = Rivals(rivals.train, ITEMS, 0)
    again.load(tmp_path / "rivals.safetensors", CPU)
    assert np.array_equal(again.ratio_NR, rivals.ratio_NR)
    assert torch.equal(next_choices(again).rival_ratio_BTR, next_choices(rivals).rival_ratio_BTR)


def test_fitted_again_it_makes_no_difference_whether_they_were_read_back(tmp_path):
    first = fitted()
    first.save(tmp_path / "rivals.safetensors")
    second = Rivals(first.train, ITEMS, 0)
    second.load(tmp_path / "rivals.safetensors", CPU)
    denoiser = small_denoiser(seed=3)
    for rivals in (first, second):
        rivals.fit(denoiser)
    assert np.array_equal(first.ratio_NR, second.ratio_NR)
    assert torch.equal(next_choices(first).rival_ratio_BTR, next_choices(second).rival_ratio_BTR)


def test_what_cannot_be_read_is_refused(tmp_path):
    path = tmp_path / "rivals.safetensors"
    for content in (None, b"12345678"):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(RunError, match=r"cannot be read.*--overwrite"):
            Rivals(linked(), ITEMS, 0).load(path, CPU)


def test_items_that_come_and_go_have_periods_and_a_choice_is_of_its_own():
    """Items come one after the other: the time of a choice, not the users, predicts the item."""
    random = np.random.default_rng(0)
    n = 1600
    time = np.sort(random.uniform(0, 1000, n))
    item = np.rint(time / 1000 * (ITEMS - 1) + random.normal(0, 2, n)).clip(0, ITEMS - 1).astype(np.int64)
    user = random.integers(0, 200, n)
    order = np.argsort(user, kind="stable")
    indptr = np.searchsorted(user[order], np.arange(201))
    rivals = Rivals(Histories(indptr, item[order], time[order]), ITEMS, 0)
    assert len(rivals.periods.starts) > 2
    assert rivals.period_N.min() == 1
    periods = rivals.side_information(np.array([[0, 1, -1]])).period_BT[0].tolist()
    assert periods == [*rivals.period_N[:2], 0]
    late = rivals.side_information_with_next(
        np.array([[0, 1]]), np.array([0]), np.array([3]), np.array([1e9])
    ).period_BT
    assert late[0].tolist() == [*rivals.period_N[:2], len(rivals.periods.starts)]


@pytest.mark.parametrize("rows", [[[1]], [[1], [1], [1], [1]], [[1, 2], []], [[3, 3, 3]], [[0, 1, 2, 3]] * 3])
def test_odd_histories(rows):
    ratios = fitted(histories_of(rows)).ratio_NR
    assert np.isfinite(ratios).all()
    assert (ratios > 0).all()
