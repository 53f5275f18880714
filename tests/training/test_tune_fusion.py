"""The fusion weights are the best of their grid on the validation split; here by brute force."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from support.small_sets import QUICK

from demure.data.dataset import Dataset
from demure.data.histories import Histories
from demure.evaluation.ranking import evaluate
from demure.model.fusion import FusionWeights
from demure.model.recommender import Recommender
from demure.runs.load import load_run
from demure.training import tune_fusion as module
from demure.training.run import train


@pytest.fixture(scope="module")
def fitted(run):
    return load_run(run)


def goal(scores, data):
    past, relevant = data.histories("train"), data.histories("valid")
    means = evaluate(lambda users: scores[users].float(), relevant, past, (20,), data.n_items).means()
    return (means["recall@20"] + means["ndcg@20"]) / 2


def chosen(fitted, window, seed=0, **options):
    data = fitted.dataset
    model = Recommender(
        fitted.recommender.denoiser, None, FusionWeights(0.0, 1.0), fitted.recommender.train_counts_I, max_history=100
    )
    means = module.tune_fusion(model, data.histories("train"), data.histories("valid"), window, seed=seed, **options)
    return model, means


@pytest.mark.parametrize("window", [50, None])
def test_the_weights_are_the_best_of_the_grid(fitted, window):
    data = fitted.dataset
    model, means = chosen(fitted, window)
    terms = model.terms(data.histories("train").padded(np.arange(data.n_users)))
    reached = goal(model.score(terms), data)
    assert reached == pytest.approx((means["recall@20"] + means["ndcg@20"]) / 2, abs=1e-6)
    tried = {
        (v, w): goal(v * terms.collaborative + w * terms.content + model.log_popularity, data)
        for v, w in product(module.COLLABORATIVE if window else (0.0,), module.CONTENT)
    }
    assert min(tried.values()) < reached - 0.01
    if model.fusion.scarce:  # chosen only for a gain beyond its standard error
        assert reached > max(tried.values())
        return
    assert reached == pytest.approx(max(tried.values()), abs=1e-5)
    as_good = [pool for pool, value in tried.items() if value > reached - 1e-6]
    assert (model.fusion.collaborative, model.fusion.content) == max((v, w) for v, w in as_good)


def test_no_single_change_of_the_parameters_is_better(fitted):
    """Coordinate-wise: what the line searches end with, alone with popularity, beats its neighbours on the grid."""
    data = fitted.dataset
    model, _ = chosen(fitted, 50)
    train_part = data.histories("train")
    popularity = np.bincount(train_part.items, minlength=data.n_items).astype(float)
    histories = train_part.padded(np.arange(data.n_users))

    def value(walk):
        density = module.build_item_item(train_part, popularity, walk, 50).density(histories)
        return goal(density.log(), data)

    walk = model.item_item.parameters
    start = value(type(walk)())
    assert value(walk) >= start - 1e-6
    last = list(module.ITEM_ITEM_GRID)[-1]
    for other in module.ITEM_ITEM_GRID[last]:
        assert value(walk) >= value(type(walk)(**{**vars(walk), last: other})) - 1e-6


def test_without_a_validation_split_the_defaults_stay(fitted):
    data = fitted.dataset
    nothing = data.histories()
    for window in (50, None):
        start = FusionWeights(0.0, 1.0)
        model = Recommender(
            fitted.recommender.denoiser, None, start, fitted.recommender.train_counts_I, max_history=100
        )
        assert module.tune_fusion(model, data.histories("train"), nothing, window, seed=0) == {}
        assert model.fusion == (FusionWeights() if window else start)
        assert (model.item_item is None) == (window is None)


def histories(*rows):
    return Histories(np.cumsum([0, *map(len, rows)]), np.array([item for row in rows for item in row], dtype=np.int64))


@pytest.mark.parametrize(
    ("valid", "count"),
    [
        # 8 training interactions, items 1 and 2 have none. One of 4 choices on validation is one of these: 1/4 of all
        # choices for 2 items, so each counts as 8 / 4 / 2 = 1 interaction.
        (histories([0], [3], [0], [1]), 1.0),
        (histories([2], [1], [2], [1]), 4.0),
        (histories([0], [3], [0], [3]), 0.0),
    ],
)
def test_the_prior_of_new_items_by_hand(valid, count):
    train = histories([0, 3], [0, 3], [0, 3], [0, 3])
    admitted = SimpleNamespace(admitted_modalities=lambda: [True])
    recommender = SimpleNamespace(train_counts_I=train.count_items(4), denoiser=admitted)
    assert module._expected_count_of_new_items(recommender, train, valid) == count
    admitted.admitted_modalities = lambda: [False]
    assert module._expected_count_of_new_items(recommender, train, valid) == 0


def test_the_seed_draws_the_users_where_there_are_many(fitted):
    few = {"max_users": 10}
    assert chosen(fitted, 50, **few)[1] == chosen(fitted, 50, **few)[1]
    assert len({chosen(fitted, 50, seed, **few)[1]["ndcg@20"] for seed in range(3)}) > 1


def test_what_has_no_order_is_not_searched_for_order(untimed, tmp_path):
    train(untimed, tmp_path / "run", overrides=QUICK, device="cpu")
    walk = load_run(tmp_path / "run").recommender.item_item.parameters
    assert not Dataset.load(untimed).has_time
    assert (walk.nearness, walk.fading) == (0, 0)
