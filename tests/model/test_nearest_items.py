"""The items nearest to each: the exact search as oracle of that by cells."""

import numpy as np
import pytest
import torch

from demure.model import nearest_items as module
from demure.model.nearest_items import ABSENT, nearest_items

COUNT = 10


def clustered(items, topics=40, seed=0):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(topics, 16))
    vectors = centres[random.integers(topics, size=items)] + 0.5 * random.normal(size=(items, 16))
    return vectors.astype(np.float32), random.random(items) < 0.9


@pytest.fixture
def large(monkeypatch):
    """What is exact is small, so that the search by cells is used."""
    monkeypatch.setattr(module, "EXACT_ITEMS", 100)
    monkeypatch.setattr(module, "COMPARED", 400)
    monkeypatch.setattr(module, "_BLOCK_CELLS", 20_000)


def cosines(vectors):
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit @ unit.T


def test_most_of_the_exact_nearest_are_among_an_eighth_of_the_items(large):
    vectors, present = clustered(3200)
    cosine = cosines(vectors)
    cosine[:, ~present] = ABSENT
    expected = np.argsort(-cosine, axis=1)[:, :COUNT]
    nearest = nearest_items(vectors, present, COUNT)
    pairs = zip(nearest.items_IN[present], expected[present], strict=True)
    assert np.mean([len(np.intersect1d(a, b)) / COUNT for a, b in pairs]) > 0.95
    assert np.allclose(nearest.cosine_IN[present], np.take_along_axis(cosine, nearest.items_IN, 1)[present], atol=1e-5)


def test_each_item_is_among_its_own_nearest_and_the_order_is_that_of_the_items(large):
    vectors, present = clustered(1500)
    nearest = nearest_items(vectors, present, COUNT)
    assert (np.diff(nearest.items_IN, axis=1) > 0).all()
    own = nearest.items_IN == np.arange(1500)[:, None]
    assert own[present].any(1).all()
    assert np.allclose(nearest.cosine_IN[own & present[:, None]], 1, atol=1e-5)
    assert (nearest.cosine_IN[~present] == ABSENT).all()
    assert present[nearest.items_IN[present]].all()


def test_items_that_are_all_alike_are_compared_in_parts(large):
    """One placeholder for most items: no part is compared with more than the limit."""
    vectors, _ = clustered(2000)
    vectors[:1500] = vectors[0]
    present = np.ones(2000, bool)
    parts = list(module._cells(vectors, np.arange(2000), 400))
    assert max(len(candidates) for _, candidates in parts) == 400
    assert np.array_equal(np.sort(np.concatenate([items for items, _ in parts])), np.arange(2000))
    nearest = nearest_items(vectors, present, COUNT)
    assert np.allclose(nearest.cosine_IN[:1500], 1, atol=1e-5)
    assert (nearest.items_IN == np.arange(2000)[:, None]).any(1)[1500:].all()


def test_fewer_items_with_the_modality_than_places(large):
    vectors, _ = clustered(300)
    present = np.zeros(300, bool)
    present[[5, 70, 299]] = True
    nearest = nearest_items(vectors, present, 5)
    exact = module._among_all(module._unit(vectors), present, 5)
    assert (np.diff(nearest.items_IN, axis=1) > 0).all()
    for item in (5, 70, 299):
        kept = nearest.cosine_IN[item] > ABSENT
        assert nearest.items_IN[item, kept].tolist() == [5, 70, 299]
        assert np.allclose(nearest.cosine_IN[item, kept], exact.cosine_IN[item, exact.cosine_IN[item] > ABSENT])


def test_an_accelerator_compares_all_with_all():
    """Run on a CPU here: the same items as those of the exact search."""
    vectors, present = clustered(700)
    exact = module._among_all(module._unit(vectors), present, COUNT)
    unit = module._unit(vectors)
    nearest = module._by_cells(unit, present, COUNT, module.COMPARED_ON_ACCELERATOR, torch.device("cpu"))
    assert np.array_equal(nearest.items_IN[present], exact.items_IN[present])
    assert np.allclose(nearest.cosine_IN, exact.cosine_IN, atol=1e-5)


def test_the_same_items_twice_give_the_same(large):
    vectors, present = clustered(900)
    first, second = (nearest_items(vectors, present, COUNT) for _ in range(2))
    assert np.array_equal(first.items_IN, second.items_IN)
