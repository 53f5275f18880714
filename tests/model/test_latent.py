"""Whitened principal components: variance, rank, what is missing, and how many are kept."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demure.model.latent import fit_latent


def low_rank(seed=0, items=300, rank=3, columns=20, noise=0.05):
    random = np.random.default_rng(seed)
    signal = random.normal(size=(items, rank)) @ random.normal(size=(rank, columns))
    return (signal + noise * random.normal(size=(items, columns)) + 5).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(4, 60), st.integers(1, 30), st.integers(1, 12))
def test_coordinates_are_white_whatever_the_shape(seed, items, columns, most):
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(items, columns)) * random.uniform(0.5, 3, columns)
    present = random.random(items) < 0.8
    present[:3] = True
    latent = fit_latent(vectors.astype(np.float32), present, most)
    observed = latent.coordinates[present].astype(np.float64)
    dim = latent.coordinates.shape[1]
    assert 1 <= dim <= min(most, columns, present.sum() - 1)
    assert len(latent.spread) == dim
    assert (np.diff(latent.spread) <= 1e-6).all()
    np.testing.assert_allclose(observed.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(observed.T @ observed / len(observed), np.eye(dim), atol=1e-3)
    assert (latent.coordinates[~present] == 0).all()


def test_as_many_components_as_stand_out():
    assert fit_latent(low_rank(rank=3), np.ones(300, bool)).coordinates.shape[1] == 3
    assert fit_latent(low_rank(rank=7), np.ones(300, bool)).coordinates.shape[1] == 7
    assert fit_latent(low_rank(rank=7), np.ones(300, bool), max_dim=4).coordinates.shape[1] == 4


def test_where_nothing_stands_out_the_most_are_kept():
    noise = np.random.default_rng(0).normal(size=(500, 30)).astype(np.float32)
    assert fit_latent(noise, np.ones(500, bool), max_dim=12).coordinates.shape[1] == 12


def test_spread_and_coordinates_against_the_singular_values():
    vectors = low_rank(rank=4)
    latent = fit_latent(vectors, np.ones(300, bool))
    centred = vectors.astype(np.float64) - vectors.mean(0, dtype=np.float64)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(latent.spread, singular[:4] / np.sqrt(300), rtol=1e-4)
    np.testing.assert_allclose(np.abs(latent.coordinates), np.abs(left[:, :4]) * np.sqrt(300), atol=2e-3)


def test_missing_rows_change_nothing_for_the_others():
    vectors = low_rank()
    with_gaps = np.concatenate([vectors, np.full((5, 20), 1e6, np.float32)])
    whole = fit_latent(vectors, np.ones(300, bool))
    gaps = fit_latent(with_gaps, np.arange(305) < 300)
    assert np.array_equal(gaps.coordinates[:300], whole.coordinates)
    assert not gaps.present[300:].any()


def test_a_row_that_is_not_finite_is_missing():
    vectors = low_rank()
    vectors[7, 3] = np.nan
    latent = fit_latent(vectors, np.ones(300, bool))
    assert not latent.present[7]
    assert latent.present.sum() == 299
    assert np.isfinite(latent.coordinates).all()


def test_signs_do_not_depend_on_the_order_of_items():
    vectors, order = low_rank(), np.random.default_rng(1).permutation(300)
    whole, shuffled = (fit_latent(rows, np.ones(300, bool)) for rows in (vectors, vectors[order]))
    np.testing.assert_allclose(shuffled.coordinates, whole.coordinates[order], atol=1e-3)


@pytest.mark.parametrize("items", [2, 3])
def test_few_items_or_equal_ones(items):
    latent = fit_latent(np.eye(items, 8, dtype=np.float32), np.ones(items, bool))
    assert latent.coordinates.shape[1] == items - 1
    same = fit_latent(np.ones((items, 8), np.float32), np.ones(items, bool))
    assert np.isfinite(same.coordinates).all()


def test_rows_in_blocks_give_what_all_at_once_give(monkeypatch):
    from demure.model import latent

    random = np.random.default_rng(0)
    vectors, present = random.normal(size=(300, 8)) @ random.normal(size=(8, 8)), random.random(300) < 0.8
    whole = fit_latent(vectors.astype(np.float32), present, 5)
    monkeypatch.setattr(latent, "_BLOCK", 70)
    blocks = fit_latent(vectors.astype(np.float32), present, 5)
    np.testing.assert_allclose(blocks.coordinates, whole.coordinates, atol=1e-4)
    assert (blocks.coordinates[~present] == 0).all()
