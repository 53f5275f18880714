import math

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch.utils._python_dispatch import TorchDispatchMode

from demure.data.histories import Histories
from demure.errors import DemureError
from demure.evaluation.beyond_accuracy import Catalogue, users_per_item
from demure.evaluation.ranking import evaluate
from demure.evaluation.top_k import top_k


def histories(lists):
    """One list of items per user, as histories."""
    return Histories(
        indptr=np.concatenate([[0], np.cumsum([len(items) for items in lists])]).astype(np.int64),
        items=np.array([item for items in lists for item in items], dtype=np.int64),
        times=None,
    )


def by_the_book(scores, relevant, past, k):
    """The definitions once more, one user and one item at a time."""
    expected = {}
    for user, row in enumerate(scores):
        wanted = set(relevant[user]) - set(past[user])
        if not wanted:
            continue
        candidates = [item for item in range(len(row)) if item not in past[user] and row[item] > -math.inf]
        listed = sorted(candidates, key=lambda item: (-row[item], item))[:k]
        ranks = [rank for rank, item in enumerate(listed, 1) if item in wanted]
        expected[user] = {
            "recall": len(ranks) / len(wanted),
            "ndcg": sum(1 / math.log2(r + 1) for r in ranks)
            / sum(1 / math.log2(r + 1) for r in range(1, min(k, len(wanted)) + 1)),
            "hit": float(bool(ranks)),
            "mrr": 1 / ranks[0] if ranks else 0.0,
            "map": sum(n / r for n, r in enumerate(ranks, 1)) / min(k, len(wanted)),
            "precision": len(ranks) / k,
        }
    return expected


@st.composite
def problems(draw):
    n_users, n_items = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    # Few distinct values, so that ties are the rule; -inf among them.
    values = st.sampled_from([-math.inf, -1.0, 0.0, 0.5, 2.0])
    items = st.lists(st.integers(0, n_items - 1), max_size=5)
    return (
        draw(hnp.arrays(np.float32, (n_users, n_items), elements=values)),
        [draw(items) for _ in range(n_users)],
        [draw(items) for _ in range(n_users)],
        draw(st.integers(1, 12)),
        draw(st.sampled_from([None, 1, 2])),
    )


@settings(deadline=None, max_examples=200)
@given(problem=problems())
def test_agrees_with_the_plain_definitions(problem):
    scores, relevant, past, k, batch = problem
    result = evaluate(
        lambda users: scores[users], histories(relevant), histories(past), [k], scores.shape[1], batch=batch
    )
    expected = by_the_book(scores, relevant, past, k)
    assert result.users.tolist() == list(expected)
    for name in ("recall", "ndcg", "hit", "mrr", "map", "precision"):
        assert result.per_user[f"{name}@{k}"] == pytest.approx([row[name] for row in expected.values()])


@settings(deadline=None)
@given(hnp.arrays(np.float32, (3, 40), elements=st.sampled_from([0.0, 1.0, 2.0])), st.integers(1, 40))
def test_ties_rank_by_the_lower_index(scores, k):
    items, values = top_k(scores, k)
    assert items.tolist() == [sorted(range(40), key=lambda i: (-row[i], i))[:k] for row in scores.tolist()]
    assert np.array_equal(values, np.take_along_axis(scores, items, axis=1))


@pytest.mark.parametrize("values", [2, 40, 10**6])
@pytest.mark.parametrize("n_items", [3000, 3007])
def test_many_items_rank_as_few_do(n_items, values):
    """Beyond 1,000 items for each place the search goes by chunks."""
    random = np.random.default_rng(values)
    scores = random.integers(0, values, (20, n_items)).astype(np.float32)
    scores[::3, random.random(n_items) < 0.5] = -np.inf
    scores[5] = -np.inf
    scores[6, 70:] = -np.inf
    items, values = top_k(scores, 2)
    assert items.tolist() == np.argsort(-scores, axis=1, kind="stable")[:, :2].tolist()
    assert np.array_equal(values, np.take_along_axis(scores, items, axis=1))


def test_nan_is_refused_among_many_items():
    scores = np.zeros((1, 5000), np.float32)
    scores[0, 4321] = math.nan
    with pytest.raises(DemureError, match="first for user 0 and item 4321"):
        evaluate(lambda users: scores[users], histories([[0]]), histories([[]]), [1])


def test_by_hand():
    scores = np.array([[0.9, 0.8, 0.7, 0.6], [0.1, 0.2, 0.3, 0.4], [0, 0, 0, 0]], np.float32)
    result = evaluate(
        lambda users: scores[users], histories([[2, 3], [0], []]), histories([[0], [3], []]), [1, 2], n_items=4
    )
    # User 0 sees 1, 2, 3 with 2 and 3 relevant; user 1 sees 2, 1, 0 with 0 relevant; user 2 wants nothing.
    assert result.users.tolist() == [0, 1]
    assert result.per_user["recall@2"].tolist() == [1 / 2, 0]
    assert result.per_user["mrr@2"].tolist() == [1 / 2, 0]
    assert result.means()["hit@2"] == 1 / 2
    assert result.means()["hit@1"] == 0
    assert list(result.per_user)[:5] == ["recall@1", "recall@2", "ndcg@1", "ndcg@2", "hit@1"]


def test_a_constant_scorer_is_no_better_than_its_order():
    result = evaluate(
        lambda users: np.zeros((len(users), 100), np.float32), histories([[99], [0]]), histories([[], []])
    )
    assert result.per_user["hit@50"].tolist() == [0, 1]


def test_past_items_are_neither_listed_nor_relevant():
    scores = np.array([[3, 2, 1]], np.float32)
    result = evaluate(lambda users: scores[users], histories([[0, 1]]), histories([[0]]), [1])
    assert result.per_user["recall@1"].tolist() == [1.0]
    nobody = evaluate(lambda users: scores[users], histories([[0]]), histories([[0]]), [1])
    assert nobody.users.tolist() == []
    assert math.isnan(nobody.means()["recall@1"])


def test_the_scores_given_are_left_alone():
    scores = np.array([[3, 2, 1]], np.float32)
    evaluate(lambda users: scores, histories([[1]]), histories([[0]]), [1])
    assert scores.tolist() == [[3, 2, 1]]


class HostReads(TorchDispatchMode):
    """Counts what makes the host wait for the device: numbers read one by one, and results of unknown size."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        waits = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        self.count += function in waits
        return function(*args, **(kwargs or {}))


def test_scores_may_be_a_tensor_and_are_left_alone():
    random = np.random.default_rng(0)
    scores = random.integers(0, 4, (50, 30)).astype(np.float32)
    relevant, past = histories(random.integers(0, 30, (50, 3))), histories(random.integers(0, 30, (50, 5)))
    catalogue = Catalogue(*users_per_item(past, 30), {"text": random.standard_normal((30, 2), np.float32)})
    arrays = evaluate(lambda users: scores[users], relevant, past, [1, 5], catalogue=catalogue)
    tensor = torch.tensor(scores)
    tensors = evaluate(lambda users: tensor[users], relevant, past, [1, 5], catalogue=catalogue)
    pd.testing.assert_frame_equal(arrays.frame(np.arange(50)), tensors.frame(np.arange(50)))
    assert arrays.means() == pytest.approx(tensors.means(), nan_ok=True)
    assert np.array_equal(tensor.numpy(), scores)


@pytest.mark.parametrize("users", [20, 200])
def test_the_host_waits_for_a_block_as_often_however_large_it_is(users):
    random = np.random.default_rng(0)
    scores = torch.tensor(random.integers(0, 4, (users, 30)), dtype=torch.float32)
    relevant, past = histories(random.integers(0, 30, (users, 3))), histories(random.integers(0, 30, (users, 5)))
    with HostReads() as reads:
        evaluate(lambda users: scores[users], relevant, past, [5], n_items=30)
    assert reads.count <= 10


def test_blocks_do_not_change_the_result():
    random = np.random.default_rng(0)
    scores = random.standard_normal((50, 30)).astype(np.float32)
    relevant, past = histories(random.integers(0, 30, (50, 3))), histories(random.integers(0, 30, (50, 5)))
    whole = evaluate(lambda users: scores[users], relevant, past, [5])
    parts = evaluate(lambda users: scores[users], relevant, past, [5], batch=7)
    assert np.array_equal(whole.per_user["ndcg@5"], parts.per_user["ndcg@5"])
    assert whole.means()["recall@5"] > 0


def test_progress_counts_users():
    events = []
    evaluate(
        lambda users: np.zeros((len(users), 3), np.float32),
        histories([[0], [], [1], [2]]),
        histories([[]] * 4),
        [1],
        batch=2,
        listener=events.append,
    )
    assert [(p.done, p.total) for p in events] == [(2, 3), (3, 3)]


def test_the_frame_carries_ids():
    result = evaluate(lambda users: np.zeros((1, 3), np.float32), histories([[], [0]]), histories([[], []]), [1])
    assert result.frame(np.array(["a", "b"], dtype=object)).to_dict("records")[0]["user_id"] == "b"


@pytest.mark.parametrize("ks", [[], [0], [5, -1]])
def test_cuts_below_one_are_refused(ks):
    with pytest.raises(DemureError, match="k must be 1 or more"):
        evaluate(lambda users: np.zeros((1, 3), np.float32), histories([[0]]), histories([[]]), ks)


def test_nan_is_refused_with_its_place():
    scores = np.array([[0, 1], [0, math.nan]], np.float32)
    with pytest.raises(DemureError, match="first for user 1 and item 1"):
        evaluate(lambda users: scores[users], histories([[0], [0]]), histories([[], []]), [1])


def test_scores_of_another_shape_are_refused():
    with pytest.raises(DemureError, match=r"shape \(1, 3\) for 1 users and 4 items"):
        evaluate(lambda users: np.zeros((1, 3), np.float32), histories([[0]]), histories([[]]), [1], n_items=4)


def test_items_beyond_the_scores_are_refused():
    with pytest.raises(DemureError, match="item index 5, but only 3 items"):
        evaluate(lambda users: np.zeros((1, 3), np.float32), histories([[5]]), histories([[]]), [1])


def test_histories_of_other_users_are_refused():
    with pytest.raises(DemureError, match="relevant items of 1 users, past items of 2"):
        evaluate(lambda users: np.zeros((1, 3), np.float32), histories([[0]]), histories([[], []]), [1])
