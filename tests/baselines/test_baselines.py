import numpy as np
import pytest
from support.histories_by_hand import histories

from demure.baselines.ease import MOST_ITEMS, Ease, EaseOptions
from demure.baselines.item_knn import ItemKNN, ItemKNNOptions
from demure.baselines.registry import BASELINES, make_baseline
from demure.baselines.sparse import history_matrix
from demure.errors import DemureError, RecipeError
from demure.evaluation.ranking import evaluate

ALL = list(BASELINES)


@pytest.fixture(scope="module")
def chain():
    """Users walk along a ring of 30 items, so that the next item follows from the last."""
    random = np.random.default_rng(0)
    walks = [(random.integers(30) + np.arange(9)) % 30 for _ in range(200)]
    return histories([w[:-1] for w in walks]), histories([w[-1:] for w in walks])


def test_history_weights_by_hand():
    # Item 4 is last (distance 1), item 7 before it (2), item 2 first (4); item 5 twice, the latest at distance 3.
    weights = history_matrix(histories([[2, 5, 7, 4], [], [5, 5, 3, 3]]), 9, decay=1.0).toarray()
    assert weights[0].tolist() == [0, 0, 0.25, 0, 1, pytest.approx(1 / 3), 0, 0.5, 0]
    assert weights[1].tolist() == [0] * 9
    assert weights[2, [3, 5]] == pytest.approx([1, 1 / 3])
    assert history_matrix(histories([[2, 2, 1]]), 3).toarray().tolist() == [[0, 1, 1]]


@pytest.mark.parametrize("name", ALL)
def test_scores_are_finite_and_repeat(name, chain):
    train, _ = chain
    first, second = make_baseline(name), make_baseline(name)
    first.fit(train, 31)
    second.fit(train, 31)
    users = np.array([3, 0, 3])
    scores = first.scorer(train)(users)
    assert scores.shape == (3, 31)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert np.array_equal(scores[0], scores[2])
    assert np.array_equal(scores, second.scorer(train)(users))


@pytest.mark.parametrize("name", [name for name in ALL if name != "popularity"])
def test_learns_what_goes_together(name, chain):
    train, after = chain
    model = make_baseline(name)
    model.fit(train, 30)
    # Of 22 unseen items, the two that adjoin the walk stand out; order says which of them.
    reached = evaluate(model.scorer(train), after, train, [2]).means()["recall@2"]
    assert reached > (0.95 if "decayed" in name else 0.8)


def test_shrinking_trusts_pairs_of_rare_items_less():
    """0 and 1 are taken together by 1 of 1 users, 2 and 3 by 2 of 2: cosines of 1; with shrink 1, 1/2 and 2/3."""
    train = histories([[0, 1], [2, 3], [2, 3]])
    for shrink, rare, less_rare in ((0.0, 1.0, 1.0), (1.0, 1 / 2, 2 / 3)):
        model = make_baseline("item-knn", shrink=shrink)
        model.fit(train, 4)
        scores = model.scorer(histories([[0], [2]]))(np.array([0, 1]))
        assert scores == pytest.approx(np.array([[0, rare, 0, 0], [0, 0, 0, less_rare]]))


@pytest.mark.parametrize("name", ["item-knn-decayed", "ease-decayed"])
def test_decay_follows_the_history_given_when_scoring(name, chain):
    train, _ = chain
    model = make_baseline(name)
    model.fit(train, 30)
    scores = model.scorer(histories([[5, 20], [20, 5]]))(np.array([0, 1]))
    assert scores[0, 21] > scores[0, 6]
    assert scores[1, 21] < scores[1, 6]


def test_ease_solves_its_own_problem():
    """B minimises |X - XB|^2 + lambda |B|^2 under a zero diagonal: the gradient vanishes off the diagonal."""
    lists = [np.flatnonzero(row) for row in np.random.default_rng(2).random((40, 12)) < 0.3]
    model = Ease(EaseOptions(regularisation=3.0))
    model.fit(histories(lists), 12)
    weights = model.scorer(histories([[i] for i in range(12)]))(np.arange(12)).astype(np.float64)
    interactions = history_matrix(histories(lists), 12).toarray().astype(np.float64)
    gradient = interactions.T @ (interactions @ weights - interactions) + 3.0 * weights
    np.fill_diagonal(gradient, 0)
    assert np.abs(gradient).max() < 1e-4
    assert np.diag(weights).tolist() == [0] * 12


def test_item_knn_is_cosine():
    lists = [[0, 1], [0, 1, 2], [1], [2, 0]]
    model = ItemKNN()
    model.fit(histories(lists), 4)
    kernel = model.scorer(histories([[i] for i in range(4)]))(np.arange(4))
    dense = history_matrix(histories(lists), 4).toarray()
    norms = np.maximum(np.linalg.norm(dense, axis=0), 1)
    expected = (dense / norms).T @ (dense / norms) * (1 - np.eye(4))
    assert kernel == pytest.approx(expected)


def test_decayed_kernel_by_hand():
    # One user, 0 1 2: gaps 1, 1 and 2; every item has one user.
    model = ItemKNN(ItemKNNOptions(decay=1.0))
    model.fit(histories([[0, 1, 2], [3]]), 4)
    kernel = model.scorer(histories([[i] for i in range(4)]))(np.arange(4))
    assert kernel.tolist() == [[0, 1, 0.5, 0], [1, 0, 1, 0], [0.5, 1, 0, 0], [0, 0, 0, 0]]


def test_the_window_ends_the_kernel():
    model = ItemKNN(ItemKNNOptions(decay=1.0, window=1))
    model.fit(histories([[0, 1, 2]]), 3)
    assert model.scorer(histories([[0]]))(np.array([0])).tolist() == [[0, 1, 0]]


def test_only_the_strongest_neighbours_stay():
    model = ItemKNN(ItemKNNOptions(neighbours=1))
    model.fit(histories([[0, 1], [0, 1], [0, 2]]), 3)
    assert np.count_nonzero(model.scorer(histories([[0], [1], [2]]))(np.arange(3)), axis=1).tolist() == [1, 1, 1]


@pytest.mark.parametrize("name", ["item-knn-decayed", "ease-decayed"])
def test_decay_without_timestamps_is_refused(name):
    model = make_baseline(name)
    model.fit(histories([[0, 1], [1, 2]]), 3)
    with pytest.raises(DemureError, match="no timestamps"):
        model.scorer(histories([[0, 1], [1, 2]], times=False))


def test_ease_without_regularisation_is_refused():
    with pytest.raises(DemureError, match="regularisation must be above 0"):
        make_baseline("ease", regularisation=0).fit(histories([[0]]), 1)


def test_too_many_items_for_a_dense_matrix():
    with pytest.raises(DemureError, match="use item-knn above 30000 items"):
        Ease().fit(histories([[0]]), MOST_ITEMS + 1)


def test_unknown_names_and_values_are_refused():
    with pytest.raises(RecipeError, match="unknown baseline 'eas'; did you mean ease"):
        make_baseline("eas")
    with pytest.raises(RecipeError, match="unknown option 'lambda'; choose one of regularisation, decay"):
        make_baseline("ease", **{"lambda": 1})
    with pytest.raises(RecipeError, match="decay is -1"):
        make_baseline("ease", decay=-1)


def test_options_replace_the_defaults():
    assert make_baseline("ease", regularisation=7.0).options == EaseOptions(regularisation=7.0)
