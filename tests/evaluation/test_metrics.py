import math

import numpy as np
import pytest

from demure.evaluation.metrics import ACCURACY, METRICS, Hits, MetricAtK, cutoffs, find_metric


def measured(name, hits, relevant, k):
    """A metric of dense lists: ``hits[b, r]`` is whether the item at rank r + 1 of user b is relevant."""
    row, place = np.nonzero(np.asarray(hits))
    missed = np.repeat(np.arange(len(hits)), np.asarray(relevant) - np.sum(hits, axis=1))
    rows, ranks = np.concatenate([row, missed]), np.concatenate([place + 1, np.zeros(len(missed), int)])
    shuffled = np.random.default_rng(0).permutation(len(rows))
    return METRICS[name].formula(Hits.of(rows[shuffled], ranks[shuffled], len(hits)), k)


# A list of four with hits at ranks 2 and 4, for a user with three relevant items.
HITS, RELEVANT = np.array([[False, True, False, True]]), np.array([3])
LOG = [math.log2(rank + 1) for rank in range(1, 6)]


@pytest.mark.parametrize(
    ("name", "k", "expected"),
    [
        ("recall", 1, 0),
        ("recall", 2, 1 / 3),
        ("recall", 4, 2 / 3),
        ("recall", 9, 2 / 3),
        ("precision", 2, 1 / 2),
        ("precision", 4, 2 / 4),
        ("precision", 8, 2 / 8),
        ("hit", 1, 0),
        ("hit", 2, 1),
        ("mrr", 1, 0),
        ("mrr", 4, 1 / 2),
        ("map", 2, (1 / 2) / 2),
        ("map", 4, (1 / 2 + 2 / 4) / 3),
        ("ndcg", 1, 0),
        ("ndcg", 2, (1 / LOG[1]) / (1 / LOG[0] + 1 / LOG[1])),
        ("ndcg", 4, (1 / LOG[1] + 1 / LOG[3]) / (1 / LOG[0] + 1 / LOG[1] + 1 / LOG[2])),
        ("ndcg", 9, (1 / LOG[1] + 1 / LOG[3]) / (1 / LOG[0] + 1 / LOG[1] + 1 / LOG[2])),
    ],
)
def test_by_hand(name, k, expected):
    assert measured(name, HITS, RELEVANT, k) == pytest.approx([expected])


@pytest.mark.parametrize("name", ["recall", "ndcg", "hit", "mrr", "map"])
def test_a_perfect_list_scores_one(name):
    assert measured(name, np.array([[True, True, False]]), np.array([2]), 3) == pytest.approx([1.0])


@pytest.mark.parametrize("name", ["ndcg", "map", "precision"])
def test_k_below_the_relevant_items_can_still_be_perfect(name):
    assert measured(name, np.array([[True, True]]), np.array([7]), 2) == pytest.approx([1.0])


@pytest.mark.parametrize("name", ACCURACY)
def test_no_hit_scores_nothing(name):
    assert measured(name, np.zeros((2, 3), bool), np.array([1, 2]), 3).tolist() == [0.0, 0.0]


def test_a_name_at_k_is_read_and_written():
    assert MetricAtK.parse("ild-a@b@20") == MetricAtK("ild-a@b", 20)
    assert str(MetricAtK("recall", 5)) == "recall@5"
    assert cutoffs(["ndcg@20", "recall@5", "recall@20"]) == [5, 20]
    for text in ("recall", "@5", "recall@", "recall@-1"):
        with pytest.raises(ValueError, match="is not METRIC@K"):
            MetricAtK.parse(text)


def test_the_table_knows_every_metric_once():
    assert find_metric("ild-image") is METRICS["ild"]
    assert [find_metric(name) for name in ("ild", "ild-", "f1", "recall-image")] == [None] * 4
    assert [name for name in METRICS if METRICS[name].formula is not None] == list(ACCURACY)
    assert MetricAtK("arp", 20).metric.digits == 1
    with pytest.raises(KeyError):
        MetricAtK("f1", 20).metric  # noqa: B018
