"""The item-item model, and its fusion with the content."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.small_models import ITEMS, small_denoiser, small_histories

from demure.model.batch import HistoryBatch
from demure.model.fusion import FusionWeights
from demure.model.item_item import ItemItemModel, count_pairs
from demure.model.item_item_density import ItemItemParameters
from demure.model.mass_product import SparseMass
from demure.model.recommender import Recommender, Terms

HISTORIES = st.lists(st.lists(st.integers(0, 7), max_size=7, unique=True), min_size=1, max_size=6)
PARAMETERS = [
    ItemItemParameters(),
    ItemItemParameters(nearness=0.0, fading=0.0),
    ItemItemParameters(nearness=0.5, shared=1.0, exponent=0.8, fading=1.3),
    ItemItemParameters(further=1.0),
]


def csr(rows):
    return np.cumsum([0, *map(len, rows)]), np.array([item for row in rows for item in row], dtype=np.int64)


def pairs_slowly(rows, window, nearness, shared):
    """Every pair of every history, one by one."""
    counts = np.zeros((8, 8))
    for row in rows:
        for j, source in enumerate(row):
            for i, target in enumerate(row):
                worth = len(row) ** -shared
                if i == j or (nearness and abs(i - j) > window):
                    continue
                if nearness:
                    worth *= abs(i - j) ** -nearness * (1.0 if i > j else 0.5)
                counts[source, target] += worth
    return counts


@settings(max_examples=60, deadline=None)
@given(HISTORIES, st.integers(1, 7), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 1.0]))
def test_pairs_against_a_slow_count(rows, window, nearness, shared):
    pairs = count_pairs(*csr(rows), 8, window, nearness=nearness, shared=shared)
    np.testing.assert_allclose(pairs.tocsr().toarray(), pairs_slowly(rows, window, nearness, shared), atol=1e-9)


@settings(max_examples=40, deadline=None)
@given(HISTORIES, st.sampled_from([0.0, 0.5]), st.sampled_from([0.0, 1.0]))
def test_pairs_are_followed_as_a_matrix_is(rows, nearness, shared):
    pairs = count_pairs(*csr(rows), 8, 5, nearness=nearness, shared=shared)
    slow = pairs_slowly(rows, 5, nearness, shared)
    mass = np.random.default_rng(0).random((8, 3)) * (np.arange(24).reshape(8, 3) % 3 == 0)
    few = SparseMass(*np.nonzero(mass.T), mass.T[np.nonzero(mass.T)], (3, 8))
    np.testing.assert_allclose(pairs.follow(torch.tensor(mass.T)), mass.T @ slow, atol=1e-9)
    np.testing.assert_allclose(pairs.follow(few), mass.T @ slow, atol=1e-9)
    np.testing.assert_allclose(pairs.times(mass[:, 0]), slow @ mass[:, 0], atol=1e-9)


def test_pairs_by_hand():
    """One history 2, 0, 1: its neighbours are worth 1 forwards and 1/2 back, the ends 1/2 and 1/4."""
    pairs = count_pairs(np.array([0, 3]), np.array([2, 0, 1]), 3, 50, nearness=1.0).tocsr().toarray()
    assert pairs.tolist() == [[0, 1, 0.5], [0.5, 0, 0.25], [1, 0.5, 0]]
    assert count_pairs(np.array([0, 3]), np.array([2, 0, 1]), 3, 1, nearness=1.0).tocsr().toarray()[2].tolist() == [
        1,
        0,
        0,
    ]


def item_item(rows, parameters, items=8):
    indptr, taken = csr(rows)
    counts = count_pairs(indptr, taken, items, 50, nearness=parameters.nearness, shared=parameters.shared)
    return ItemItemModel(counts, np.bincount(taken, minlength=items).astype(float), parameters)


@pytest.mark.parametrize("parameters", PARAMETERS)
@settings(max_examples=25, deadline=None)
@given(rows=HISTORIES)
def test_the_walk_is_a_density_for_any_history(parameters, rows):
    model = item_item(rows, parameters)
    items = np.full((len(rows) + 1, 9), -1)
    for k, row in enumerate(rows):
        items[k, : len(row)] = row
    density = model.density(items)
    np.testing.assert_allclose(density.sum(1), 1, atol=1e-9)
    assert (density > 0).all()
    popularity = np.bincount(csr(rows)[1], minlength=8) + 1.0
    np.testing.assert_allclose(density[-1], popularity / popularity.sum(), rtol=1e-9)
    np.testing.assert_allclose(model.density(items[:, :8])[0], density[0], rtol=1e-9)


@pytest.mark.parametrize("parameters", PARAMETERS)
def test_an_item_chosen_with_the_history_is_likelier(parameters):
    rows = [[0, 1], [0, 1, 2], [2, 0, 1], [3, 4], [4, 3], [5, 6, 7]]
    density = item_item(rows, parameters).density(np.array([[0], [3]]))
    assert density[0, 1] > density[0, 4] * 1.5
    assert density[1, 4] > density[1, 1] * 1.5


def test_the_last_item_counts_most_where_order_fades():
    rows = [[0, 1], [0, 1], [2, 3], [2, 3]]
    two = np.array([[0, 2], [2, 0]])
    fading, flat = (item_item(rows, ItemItemParameters(fading=value)).density(two) for value in (1.0, 0.0))
    assert fading[0, 3] > fading[0, 1]
    assert fading[1, 1] > fading[1, 3]
    np.testing.assert_allclose(flat[0], flat[1])


@pytest.fixture(scope="module")
def parts():
    denoiser = small_denoiser()
    rows = [row.tolist() for row in small_histories([6] * 20, seed=4)]
    model = item_item(rows, ItemItemParameters(), ITEMS)
    return denoiser, model


TRAIN_COUNTS = np.arange(ITEMS) % 30.0


def recommender(parts, *, fusion=None, longest=50):
    denoiser, model = parts
    return Recommender(denoiser, model, fusion or FusionWeights(0.75, 0.3), TRAIN_COUNTS, max_history=longest)


def test_the_score_by_its_formula(parts):
    """v log p_id + (1 - v) log p_0 + w log rho, from its three parts."""
    denoiser, model = parts
    whole = recommender(parts)
    items = small_histories([6, 2, 0], width=6).numpy()
    log_popularity = denoiser.popularity_I.log().numpy()
    content, _ = whole.content(items)
    expected = 0.75 * np.log(model.density(items)) + 0.25 * log_popularity + 0.3 * content
    score = whole.score(whole.terms(items))
    assert score.dtype == torch.float32
    np.testing.assert_allclose(score, expected, rtol=1e-4, atol=1e-5)


def test_content_counts_more_for_items_with_few_interactions(parts):
    """w + s 10 / (n + 10): .2 + .6 for an item without interactions, .2 + .3 for an item with ten."""
    fusion = FusionWeights(1.0, 0.2, 0.6)
    np.testing.assert_allclose(fusion.content_weights(np.array([0, 10, 20])), [0.8, 0.5, 0.4], rtol=1e-6)
    items = small_histories([6, 2], width=6).numpy()
    whole = recommender(parts, fusion=fusion)
    terms = whole.terms(items)
    more = whole.score(terms) - recommender(parts, fusion=FusionWeights(1.0, 0.2)).score(terms)
    np.testing.assert_allclose(more, 0.6 * 10 / (TRAIN_COUNTS + 10) * terms.content.numpy(), rtol=1e-3, atol=1e-5)


def test_the_prior_popularity_of_new_items(parts):
    """Items 0, 30, ... have no training interactions: they count as 6 of them; the others keep their ratios."""
    before, after = recommender(parts), recommender(parts, fusion=FusionWeights(0.75, 0.3, new_items=6.0))
    new = TRAIN_COUNTS == 0
    popularity, trained = np.exp(after.log_popularity), np.exp(before.log_popularity)
    assert popularity.sum() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(popularity[~new] / trained[~new], (popularity[~new] / trained[~new])[0], rtol=1e-4)
    scale = popularity[~new][0] / trained[~new][0]
    np.testing.assert_allclose(popularity[new], scale * np.maximum(trained[new], 6 / TRAIN_COUNTS.sum()), rtol=1e-4)
    counts = after.fusion.expected_counts(TRAIN_COUNTS)
    assert (counts[new] == 6).all()
    assert (counts[~new] == TRAIN_COUNTS[~new]).all()


def test_the_extremes_of_the_fusion(parts):
    items = small_histories([5, 3]).numpy()
    log_popularity = parts[0].popularity_I.log().numpy()
    alone = {
        fusion: recommender(parts, fusion=FusionWeights(*fusion)) for fusion in [(0.0, 0.0), (1.0, 0.0), (0.0, 1.0)]
    }
    scores = {fusion: model.score(model.terms(items)) for fusion, model in alone.items()}
    np.testing.assert_allclose(scores[0.0, 0.0], np.broadcast_to(log_popularity, scores[0.0, 0.0].shape), rtol=1e-5)
    np.testing.assert_allclose(scores[1.0, 0.0], np.log(parts[1].density(items)), rtol=1e-4)
    content = scores[0.0, 1.0] - log_popularity
    np.testing.assert_allclose(content, alone[0.0, 1.0].content(items)[0], rtol=1e-3, atol=1e-4)
    without = Recommender(parts[0], None, FusionWeights(0.7, 1.0), TRAIN_COUNTS, max_history=50)
    np.testing.assert_allclose(without.score(without.terms(items)), scores[0.0, 1.0], rtol=1e-4, atol=1e-5)


def test_because_is_the_part_that_carries_most(parts):
    terms = Terms(
        collaborative=torch.tensor([[1.0, 1.0, -1.0, -2.0, 0.0]]),
        content=torch.tensor([[1.0, 3.0, 0.5, -1.0, 1.0]]),
        modality=torch.tensor([[0, 1, 0, 1, 1]]),
    )
    history = 2
    # With v = 1 and w = .5: .5 < 1; 1.5 > 1; .25 > -1; both against it; .5 > 0.
    assert of_five(parts, FusionWeights(1.0, 0.5)).because(terms).tolist() == [[history, 1, 0, history, 1]]
    assert of_five(parts, FusionWeights(1.0, 0.0)).because(terms).tolist() == [[history] * 5]


def test_similar_content_is_credited_with_its_share_of_the_mixture(parts):
    """Terms of 2 for both item-item models: of the first item the image has .7 of them, of the second .2, and the text
    .4 together with the denoiser's term of .5 x 1 (1.3 > .8 of the history)."""
    terms = Terms(
        collaborative=torch.tensor([[2.0, 2.0, -1.0]]),
        content=torch.tensor([[0.0, 1.0, -1.0]]),
        modality=torch.tensor([[0, 1, 0]]),
        similar=torch.tensor([[[0.7, 0.2, 0.9], [0.0, 0.4, 0.0]]]),
    )
    model = Recommender(*parts, FusionWeights(1.0, 0.5), np.full(3, 30.0), max_history=50)
    assert model.because(terms).tolist() == [[0, 1, 2]]
    assert model.because(terms, torch.tensor([[2, 0]])).tolist() == [[2, 0]]


def of_five(parts, fusion):
    return Recommender(*parts, fusion, np.full(5, 30.0), max_history=50)


def test_because_names_the_largest_term(parts):
    denoiser, _ = parts
    items = small_histories([8, 4])
    _, terms = denoiser.catalogue_ratios(HistoryBatch.build(items, ordered=True), denoiser.views())
    assert torch.equal(recommender(parts).content(items.numpy())[1], terms.argmax(1))
    assert len(np.unique(terms.numpy().argmax(1))) == 2


def test_content_sees_the_last_items_alone(parts):
    items = small_histories([9, 4, 0, 6], width=9).numpy()
    short = recommender(parts, longest=4)
    cut = np.full((4, 4), -1)
    for row, length in enumerate([9, 4, 0, 6]):
        last = items[row, max(0, length - 4) : length]
        cut[row, : len(last)] = last
    np.testing.assert_allclose(short.content(items)[0], recommender(parts).content(cut)[0], rtol=1e-5)
    assert not np.allclose(short.content(items)[0][0], recommender(parts).content(items)[0][0], rtol=1e-3)
