"""Transitions: planted links are found, and no user's pair is evidence for itself."""

import numpy as np
import pytest
import torch
from support.histories_by_hand import histories as histories_of

from demure.data.histories import Histories
from demure.model.transition import Transition

ITEMS = 200
LINK = (3, 150)


def linked(users=300, length=6, seed=0):
    """Histories of different items at random; each fifth user has 150 right after 3, two more have one of both."""
    random = np.random.default_rng(seed)
    rest = np.setdiff1d(np.arange(ITEMS), LINK)
    rows = []
    for user in range(users):
        row = random.choice(rest, length, replace=False)
        if user % 5 == 0:
            row[2:4] = LINK
        rows.append(row)
    return histories_of(rows)


def update(model, weight):
    return model.update(torch.as_tensor(weight)).numpy()


def fitted(train, times=6):
    """The rival after ``times`` updates that count every choice in full, and its ratios."""
    user = train.owners
    model = Transition(train, user, ITEMS, np.ones(len(train.items)))
    for _ in range(times):
        ratio = update(model, np.ones(len(train.items)))
    return model, ratio


def test_linked_choices_are_found():
    train = linked()
    _, ratio = fitted(train)
    follows = train.items == LINK[1]
    assert ratio[follows].min() > 10
    assert np.median(ratio[~follows]) < 1.5
    assert np.isfinite(ratio).all()
    assert (ratio > 0).all()


def test_a_pair_of_a_single_user_is_not_evidence_for_itself():
    """The user has the pair over and over; to everyone else it is unknown."""
    train = linked()
    own = [10, 20, 30] + [7, 9] * 6
    rows = [*(train.of(k) for k in range(300)), np.array(own)]
    _, ratio = fitted(histories_of(rows))
    mine = ratio[-len(own) :]
    assert mine.max() < 1.2


def test_without_links_the_ratio_is_about_one():
    random = np.random.default_rng(1)
    train = histories_of([random.choice(ITEMS, 6, replace=False) for _ in range(300)])
    _, ratio = fitted(train)
    assert np.quantile(ratio, 0.95) < 2
    assert np.log(ratio).mean() < 0.05


def test_choices_after_the_training_are_explained_in_the_same_way():
    """Newest first: right after 3 comes 150, and next to nothing else does; an item does not follow itself."""
    model, ratio = fitted(linked())
    before = np.full((4, 5), -1)
    before[0, 0] = before[1, 0] = 3
    before[3, 0] = 150
    item = np.array([150, 151, 150, 150])
    after = model.next_ratio(before, item, np.ones(4))
    assert after[0] > 10
    assert after[1] < 1.2
    assert after[2] == after[3] == 1  # nothing before it, or itself
    assert after[0] == pytest.approx(np.median(ratio[linked().items == 150]), rel=0.2)


def test_the_more_popular_an_item_was_the_less_a_link_explains():
    """A link to an item that everyone chose at the time is explained by the time."""
    train = linked()
    user = train.owners
    in_season = np.where(train.items == LINK[1], 5.0, 1.0)
    model = Transition(train, user, ITEMS, in_season)
    for _ in range(6):
        ratio = update(model, np.ones(len(train.items)))
    follows = train.items == LINK[1]
    _, flat = fitted(train)
    assert np.median(ratio[follows]) < 0.5 * np.median(flat[follows])


def test_where_choices_share_a_time_both_directions_count():
    """In a basket the second item explains the first as well."""
    train = linked()
    baskets = Histories(train.indptr, train.items, np.repeat(np.arange(300.0), 6))
    _, apart = fitted(train)
    _, together = fitted(baskets)
    first = train.items == LINK[0]
    assert np.median(apart[first]) < 2
    assert np.median(together[first]) > 3


def test_one_choice_each_has_nothing_before_it():
    _, ratio = fitted(histories_of([[1], [2], [3]]))
    assert ratio.tolist() == [1, 1, 1]


def test_a_state_is_restored():
    train = linked(100)
    fitted_model, _ = fitted(train)
    user = train.owners
    restored = Transition(train, user, ITEMS, np.ones(len(train.items)))
    restored.restore(fitted_model.state())
    before, item = np.full((20, 5), 3), np.arange(140, 160)
    assert np.array_equal(
        fitted_model.next_ratio(before, item, np.ones(20)), restored.next_ratio(before, item, np.ones(20))
    )
    assert np.array_equal(update(fitted_model, np.ones(600)), update(restored, np.ones(600)))


def test_later_choices_are_explained_by_the_last_fit():
    """Whoever asks between two fits changes nothing."""
    train, weight = linked(), np.ones(1800)
    asked, fitted_model = fitted(train, times=1)[0], fitted(train, times=2)[0]
    before, item, ones = np.full((2, 5), LINK[0]), np.array([LINK[1], 7]), np.ones(2)
    first = asked.next_ratio(before, item, ones)
    update(asked, weight)
    second = asked.next_ratio(before, item, ones)
    assert not np.array_equal(first, second)
    assert np.array_equal(second, fitted_model.next_ratio(before, item, ones))


@pytest.mark.parametrize("times", [True, False])
def test_users_who_weigh_nothing_are_new_users(times):
    """The fit leaves them out of its counts, so that its own ratios for them are those of new users."""
    whole = linked()
    train = whole if times else Histories(whole.indptr, whole.items)
    learned = (train.owners < 240).astype(np.float64)
    random = np.random.default_rng(3)
    factor_N = random.uniform(0.5, 2, len(train.items))
    model = Transition(train, train.owners, ITEMS, factor_N)
    for _ in range(60):  # until the shares no longer change
        expected = update(model, learned)
    new = train.slice_users(240, 300)
    counts = model.counts()
    ratio = counts.ratios(new, factor_N[learned == 0], ordered=times)
    np.testing.assert_allclose(ratio, expected[learned == 0], rtol=1e-4)
    item_counts_I = train.count_items(ITEMS)
    stored = type(counts).from_arrays(counts.arrays(), item_counts_I)
    np.testing.assert_allclose(stored.ratios(new, factor_N[learned == 0], ordered=times), ratio, rtol=1e-5)


def test_rows_without_times_are_in_order_if_the_order_is_known():
    model, _ = fitted(linked())
    new = histories_of([[8, *LINK, 60], [8, *LINK[::-1], 60]])
    untimed = Histories(new.indptr, new.items)
    ones = np.ones(8)
    in_order = model.counts().ratios(untimed, ones, ordered=True)
    np.testing.assert_array_equal(in_order, model.counts().ratios(new, ones, ordered=True))
    assert in_order[2] > 10  # 150 after 3
    assert in_order[5:7].max() < 1.5  # the link the other way round
    assert model.counts().ratios(untimed.slice_users(0, 0), ones[:0], ordered=True).shape == (0,)
