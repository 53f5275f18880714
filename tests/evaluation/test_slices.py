import numpy as np
import pandas as pd
import pytest

from demure.data.histories import Histories
from demure.evaluation.beyond_accuracy import Catalogue
from demure.evaluation.ranking import evaluate
from demure.evaluation.slices import (
    Slicing,
    history_lengths,
    item_warmth,
    modalities_present,
    most_relied_on,
    popularity_bands,
    slices,
    user_warmth,
)


def histories(lists):
    return Histories(np.cumsum([0, *map(len, lists)]), np.array([i for items in lists for i in items], np.int64))


@pytest.fixture
def evaluation():
    """All users see items 0 to 5 in this order. User 0 wants 1 and 4, user 1 wants 4, user 2 wants 0; user 3
    nothing."""
    scores = np.arange(6, 0, -1, dtype=np.float32)
    return evaluate(
        lambda users: np.tile(scores, (len(users), 1)),
        histories([[1, 4], [4], [0], []]),
        histories([[], [0], [], []]),
        [2, 4],
        catalogue=Catalogue(np.array([3, 1, 1, 0, 0, 0]), 4),
    )


def codes(name, over, labels, code):
    return Slicing(name, over, labels, np.array(code))


def test_a_slice_of_items_asks_for_its_items_alone(evaluation):
    low, high = slices(evaluation, codes("half", "items", ("low", "high"), [0, 0, 0, 1, 1, 1]))
    # Low: user 0 finds item 1 at rank 2, user 2 finds item 0 at rank 1. High: user 0 has item 4 at rank 5, user 1, for
    # whom 0 is past, at rank 4.
    assert (low.slice, low.users, low.relevant) == ("low", 2, 2)
    assert low.per_user["recall@2"].tolist() == [1, 1]
    assert low.means()["mrr@2"] == (1 / 2 + 1) / 2
    assert (high.users, high.relevant) == (2, 2)
    assert high.per_user["recall@4"].tolist() == [0, 1]
    assert high.means()["mrr@4"] == (0 + 1 / 4) / 2


def test_exposure_is_the_share_of_places(evaluation):
    low, high = slices(evaluation, codes("half", "items", ("low", "high"), [0, 0, 0, 1, 1, 1]))
    # At 2 the lists are 01, 12, 01; at 4 they are 0123, 1234, 0123.
    assert low.means()["exposure@2"] == 1
    assert high.means()["exposure@4"] == 4 / 12


def test_a_slice_of_users_averages_its_users(evaluation):
    odd, even = slices(evaluation, codes("parity", "users", ("odd", "even"), [1, 0, 1, 1]))
    assert (odd.users, odd.relevant) == (1, 1)
    assert (even.users, even.relevant) == (2, 3)
    assert even.means()["recall@2"] == (1 / 2 + 1) / 2
    assert even.means()["arp@2"] == evaluation.per_user["arp@2"][[0, 2]].mean()
    assert even.exposure == {}


def test_empty_slices_are_left_out_and_nobody_is_forced_into_one(evaluation):
    only = slices(evaluation, codes("x", "users", ("a", "b"), [-1, 1, -1, -1]))
    assert [(part.slice, part.users) for part in only] == [("b", 1)]


@pytest.mark.parametrize("over", ["users", "items"])
def test_the_slice_of_everything_is_everything(over):
    random = np.random.default_rng(0)
    scores = random.standard_normal((40, 25)).astype(np.float32)
    relevant = [random.choice(25, random.integers(0, 5), replace=False) for _ in scores]
    whole = evaluate(lambda users: scores[users], histories(relevant), histories([[]] * 40), [3, 10])
    (part,) = slices(whole, codes("all", over, ("all",), np.zeros(40 if over == "users" else 25, int)))
    assert part.users == len(whole.users)
    for name, values in whole.per_user.items():
        assert np.array_equal(part.per_user[name], values)


def test_recall_is_the_sum_of_its_slices_by_item():
    """recall@k of a user = the hits in each slice over all that is relevant."""
    random = np.random.default_rng(1)
    scores = random.standard_normal((30, 25)).astype(np.float32)
    relevant = [random.choice(25, 4, replace=False) for _ in scores]
    whole = evaluate(lambda users: scores[users], histories(relevant), histories([[]] * 30), [6])
    parts = slices(whole, codes("third", "items", ("a", "b", "c"), np.arange(25) % 3))
    hits = sum(float((part.per_user["precision@6"] * 6).sum()) for part in parts)
    assert sum(part.relevant for part in parts) == 120
    assert hits == pytest.approx(float(whole.per_user["recall@6"].sum() * 4))


def named(slicing):
    return [slicing.labels[code] for code in slicing.code]


def test_popularity_bands_by_hand():
    # Of 20 choices the first item has 4, with its middle at 2/20: the head. Two with 3 each are centred at 7/20, ten
    # with one each at 15/20.
    had = np.array([4, 3, 3, *[1] * 10, 0])
    assert named(popularity_bands(Catalogue(had, 9))) == ["head", "middle", "middle", *["middle"] * 10, "tail"]
    had = np.array([1, 1, 9, 9, 80, 0])
    # The one of 80 is centred at 40 %, the two of 9 at 89 %, the two of 1 at 99 %.
    assert named(popularity_bands(Catalogue(had, 90))) == ["tail", "tail", "tail", "tail", "middle", "tail"]
    assert named(popularity_bands(Catalogue(np.zeros(2, int), 0))) == ["tail", "tail"]


def test_warmth_and_history_by_hand():
    assert named(item_warmth(Catalogue(np.array([0, 2]), 3))) == ["cold", "warm"]
    past = histories([[], [0], [0] * 4, [0] * 5, [0] * 99, [0] * 100])
    assert named(user_warmth(past)) == ["cold", *["warm"] * 5]
    assert named(history_lengths(past)) == ["0", "1-4", "1-4", "5-9", "50-99", "100+"]


def test_modalities_by_hand():
    present = {"image": np.array([True, True, False, False]), "text": np.array([True, False, True, False])}
    slicing = modalities_present(Catalogue(np.ones(4, int), 1, {}, present))
    assert named(slicing) == ["image+text", "image", "text", "none"]
    assert slicing.labels == ("image+text", "image", "text", "none")


def test_reliance_by_hand():
    frame = pd.DataFrame(
        {
            "user_id": ["u", "u", "u", "w", "w", "w"],
            "modality": ["image", "text", "none"] * 2,
            "reliance": [0.5, 0.4, 0.1, 0.1, 0.2, 0.7],
        }
    )
    slicing = most_relied_on(frame, np.array(["w", "v", "u"], dtype=object))
    assert named(slicing) == ["none", "not diagnosed", "image"]
