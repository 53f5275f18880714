"""The content-based item-item model: hand-computed densities, a slow version as oracle, and its mixture."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demure.model.content_items import (
    ContentItemModel,
    ContentItemParameters,
    from_tensors,
    mix_content_items,
    to_tensors,
)
from demure.model.nearest_items import NearestItems, nearest_items

VECTORS = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [0.0, 0.0]], np.float32)
PRESENT = np.array([True, True, True, False])


def model(counts=(0, 0, 0, 0), **parameters):
    nearest = {"text": nearest_items(VECTORS, PRESENT, 3)}
    return ContentItemModel(nearest, np.array(counts, float), ContentItemParameters(**parameters))


def ones(items_BT):
    return np.ones((*items_BT.shape, 1)), np.ones((len(items_BT), 1))


def test_one_choice_by_hand():
    """Cosines of item 0: 1, .6, 0. With bandwidth .2 the weights are 1, e^-2, e^-5."""
    items = np.array([[0]])
    density = model(bandwidth=0.2).density(items, *ones(items))[0, 0]
    weights = np.array([1.0, np.exp(-2.0), np.exp(-5.0), 0.0])
    np.testing.assert_allclose(density, weights / weights.sum(), rtol=1e-5)


def test_popularity_weighs_the_items_near():
    """Items 0, 1, 2 were taken 3, 0 and 8 times: with exponent .5 they weigh 2, 1 and 3 times their likeness."""
    items = np.array([[1]])
    density = model((3, 0, 8, 0), bandwidth=0.2, popularity=0.5).density(items, *ones(items))[0, 0]
    weights = np.array([2 * np.exp(-2.0), 1.0, 3 * np.exp(-1.0), 0.0])
    np.testing.assert_allclose(density, weights / weights.sum(), rtol=1e-5)


def test_noise_counts_less_where_responsibilities_count():
    items, weight = np.array([[0, 2]]), np.array([[[0.9], [0.1]]])
    reliance = np.ones((1, 1))
    alone = [model().density(np.array([[item]]), *ones(np.array([[item]]))) for item in (0, 2)]
    np.testing.assert_allclose(model(denoised=0.0).density(items, weight, reliance), (alone[0] + alone[1]) / 2)
    np.testing.assert_allclose(model(denoised=1.0).density(items, weight, reliance), 0.9 * alone[0] + 0.1 * alone[1])


def test_items_without_the_modality_add_nothing():
    items = np.array([[3, -1], [3, 0], [-1, -1]])
    density = model().density(items, *ones(items))
    np.testing.assert_array_equal(density[0], 0)
    np.testing.assert_array_equal(density[1], model().density(np.array([[0]]), *ones(np.array([[0]])))[0])
    np.testing.assert_array_equal(density[2], 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 12), st.integers(1, 12), st.integers(0, 1000))
def test_nearest_against_every_pair(n_items, count, seed):
    random = np.random.default_rng(seed)
    vectors, present = random.normal(size=(n_items, 3)), random.random(n_items) < 0.8
    nearest = nearest_items(vectors, present, count)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for item in np.flatnonzero(present):
        real = nearest.cosine_IN[item] > -1.5
        cosines = unit[nearest.items_IN[item][real]] @ unit[item]
        np.testing.assert_allclose(nearest.cosine_IN[item][real], cosines, atol=1e-5)
        best = np.sort(unit[present] @ unit[item])[::-1][:count]
        np.testing.assert_allclose(np.sort(cosines)[::-1], best, atol=1e-5)
    assert (nearest.cosine_IN[~present] < -1.5).all()


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_the_mixture_is_a_density(share, mass):
    """Also where the content's part lacks some of its mass, which goes to the item-item model."""
    random = np.random.default_rng(0)
    popularity, together, content = (random.dirichlet(np.ones(6), size) for size in (None, 3, 3))
    mixed = mix_content_items(together / popularity, mass * content, share, popularity) * popularity
    np.testing.assert_allclose(mixed.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(mixed, (1 - share * mass) * together + share * mass * content, rtol=1e-6)


def test_stored_and_read_back():
    nearest = {"image": nearest_items(VECTORS, PRESENT, 2), "text": nearest_items(VECTORS[::-1], PRESENT[::-1], 3)}
    again = from_tensors(to_tensors(nearest), ["image", "text"])
    for name, neighbors in nearest.items():
        assert isinstance(again[name], NearestItems)
        np.testing.assert_array_equal(again[name].items_IN, neighbors.items_IN)
        np.testing.assert_array_equal(again[name].cosine_IN, neighbors.cosine_IN)
    with pytest.raises(KeyError):
        from_tensors(to_tensors(nearest), ["image", "text", "audio"])
