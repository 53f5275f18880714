import math

import numpy as np
import pandas as pd
import pytest
import torch
from support.small_sets import prepared, raw_files

from demure.data.dataset import Dataset
from demure.data.histories import Histories
from demure.evaluation.beyond_accuracy import Catalogue, ListMetrics, gini, measure_catalogue, users_per_item
from demure.evaluation.ranking import evaluate

# Two lists over six items; the second ends after its second item.
LISTS = np.array([[0, 1, 4], [2, 0, -1]])
HAD, USERS = np.array([7, 3, 0, 1, 1, 5]), 7
UNIT = np.array([[1, 0], [0, 1], [0.6, 0.8], [1, 0], [0, 0], [1, 0]], np.float32)


def measure_lists(items, ks, catalogue):
    metrics = ListMetrics(catalogue, ks, len(catalogue.popularity), "cpu")
    for part in np.array_split(items, 2):
        metrics.add(torch.as_tensor(part))
    return metrics.per_list()


@pytest.fixture
def metrics():
    return measure_lists(LISTS, [1, 2, 3], Catalogue(HAD, USERS, {"image": UNIT}))


def histories(lists):
    return Histories(np.cumsum([0, *map(len, lists)]), np.array([i for items in lists for i in items], np.int64))


def test_novelty_by_hand(metrics):
    # Items had by 7, 3, 1 and 0 of 7 users: -log2 of 8/8, 4/8, 2/8 and 1/8 are 0, 1, 2 and 3 bits.
    assert metrics["novelty@1"].tolist() == [0, 3]
    assert metrics["novelty@2"].tolist() == [(0 + 1) / 2, (3 + 0) / 2]
    assert metrics["novelty@3"] == pytest.approx([(0 + 1 + 2) / 3, (3 + 0) / 2])


def test_average_popularity_by_hand(metrics):
    assert metrics["arp@1"].tolist() == [7, 0]
    assert metrics["arp@3"] == pytest.approx([(7 + 3 + 1) / 3, (0 + 7) / 2])


def test_diversity_by_hand(metrics):
    # Item 4 has no image, so at 3 the first list has one pair; cosines 0 and .6. A single item has no pair.
    assert np.isnan(metrics["ild-image@1"]).all()
    assert metrics["ild-image@2"] == pytest.approx([1 - 0, 1 - 0.6])
    assert metrics["ild-image@3"] == pytest.approx([1 - 0, 1 - 0.6])
    three = measure_lists(np.array([[0, 1, 2]]), [3], Catalogue(HAD, USERS, {"image": UNIT}))
    assert three["ild-image@3"] == pytest.approx([1 - (0 + 0.6 + 0.8) / 3])


def test_an_empty_list_has_no_metrics():
    metrics = measure_lists(np.array([[-1, -1]]), [2], Catalogue(HAD, USERS, {"image": UNIT}))
    assert all(np.isnan(values).all() for values in metrics.values())


def test_coverage_and_gini_by_hand():
    metrics = measure_catalogue({2: np.array([2, 1, 1, 0])})
    assert metrics["coverage@2"] == 3 / 4
    # Ascending 0 1 1 2 with weights -3 -1 1 3: (0 - 1 + 1 + 6) / (4 * 4).
    assert metrics["gini@2"] == 6 / 16
    assert gini(np.array([3, 3, 3])) == 0
    assert gini(np.array([0, 0, 0, 9])) == 3 / 4
    assert math.isnan(gini(np.zeros(3)))


def test_against_the_plain_definitions():
    random = np.random.default_rng(0)
    ks = [1, 3, 8]
    had = random.integers(0, 40, 30)
    vectors = random.standard_normal((30, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[random.random(30) < 0.3] = 0
    lists = np.array([random.permutation(30)[:8] for _ in range(20)])
    lists[random.random(20) < 0.3, 5:] = -1
    metrics = measure_lists(lists, ks, Catalogue(had, 40, {"text": vectors}))
    for k in ks:
        for row, items in enumerate(lists):
            listed = [item for item in items[:k] if item >= 0]
            assert metrics[f"arp@{k}"][row] == pytest.approx(sum(had[i] for i in listed) / len(listed))
            bits = sum(-math.log2((had[i] + 1) / 41) for i in listed) / len(listed)
            assert metrics[f"novelty@{k}"][row] == pytest.approx(bits)
            having = [item for item in listed if vectors[item].any()]
            pairs = [vectors[a] @ vectors[b] for n, a in enumerate(having) for b in having[:n]]
            expected = 1 - sum(pairs) / len(pairs) if pairs else math.nan
            assert metrics[f"ild-text@{k}"][row] == pytest.approx(expected, abs=1e-6, nan_ok=True)


def test_gini_is_half_the_relative_mean_difference():
    counts = np.random.default_rng(1).poisson(2, 50)
    pairs = np.abs(counts[:, None] - counts).mean()
    assert gini(counts) == pytest.approx(pairs / (2 * counts.mean()))


def test_popularity_counts_users_not_choices():
    had, users = users_per_item(histories([[0, 0, 2], [2], []]), 4)
    assert had.tolist() == [1, 0, 2, 0]
    assert users == 2


def test_evaluate_measures_the_lists_that_it_ranks():
    scores = np.array([[4, 3, 2, 1], [4, 3, 2, 1], [1, 2, 3, 4]], np.float32)
    result = evaluate(
        lambda users: scores[users],
        histories([[1], [2], []]),
        histories([[0], [], [3]]),
        [1, 2, 9],
        catalogue=Catalogue(np.array([3, 1, 1, 0]), 3),
        batch=1,
    )
    # Lists 1 2 3 (0 is past) and 0 1 2 3; user 2 has nothing to find and is not measured.
    assert {k: counts.tolist() for k, counts in result.list_counts.items()} == {
        1: [1, 1, 0, 0],
        2: [1, 2, 1, 0],
        9: [1, 2, 2, 2],
    }
    assert result.per_user["arp@2"].tolist() == [(1 + 1) / 2, (3 + 1) / 2]
    assert result.means()["coverage@1"] == 2 / 4
    assert result.means()["arp@2"] == (1 + 2) / 2
    assert result.relevant_ranks.rank.tolist() == [1, 3]
    assert result.relevant_ranks.item.tolist() == [1, 2]


def test_the_catalogue_of_a_dataset(tmp_path):
    rows = [("u", "i0", 1), ("u", "i1", 2), ("v", "i0", 1), ("v", "i2", 2)]
    vectors = [[1, 0], [3, 0], [2, 5], [0, 0]]
    raw = raw_files(tmp_path / "raw", rows, {"image": vectors}, ("user_id", "item_id", "timestamp"))
    frame = pd.read_csv(raw / "interactions.csv").assign(split="train")
    frame.to_csv(raw / "interactions.csv", index=False)
    catalogue = Catalogue.of(Dataset.load(prepared(raw, tmp_path / "set", split="given")))
    assert catalogue.popularity.tolist() == [2, 1, 1, 0]
    assert catalogue.users == 2
    # Less their mean (2, 5/3) the three are (-1, -5/3), (1, -5/3) and (0, 10/3); the fourth item has no image.
    length = math.hypot(1, 5 / 3)
    expected = np.array([[-1, -5 / 3], [1, -5 / 3], [0, length], [0, 0]]) / length
    assert catalogue.content["image"] == pytest.approx(expected, abs=1e-6)
