"""Raw features come out centred, of one scale, and finite, whatever their type and units."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demure.features.normalize import ROW_LIMIT, robust_scale
from demure.features.store import Features


def features(vectors, present=None):
    vectors = np.asarray(vectors)
    return Features("x", vectors, np.ones(len(vectors), bool) if present is None else np.asarray(present))


@pytest.fixture
def cloud():
    return np.random.default_rng(0).standard_normal((200, 8)).astype(np.float32)


def test_the_typical_row_has_length_one_and_the_median_is_zero(cloud):
    scaled = robust_scale(features(3000 + 70 * cloud))
    assert scaled.dtype == np.float32
    assert np.median(np.linalg.norm(scaled, axis=1)) == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(np.median(scaled, axis=0), 0, atol=1e-4)


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-3, 1e3), st.floats(-1e3, 1e3), st.integers(0, 10**6))
def test_units_and_offset_do_not_matter(scale, offset, seed):
    vectors = np.random.default_rng(seed).standard_normal((60, 5))
    np.testing.assert_allclose(
        robust_scale(features(scale * vectors + offset)), robust_scale(features(vectors)), atol=1e-4
    )


def test_float16_whose_sums_overflow(cloud):
    half = (30000 + 5000 * cloud).astype(np.float16)
    with np.errstate(over="ignore", invalid="ignore"):
        assert not np.isfinite(half.sum(axis=0)).any()
    np.testing.assert_allclose(robust_scale(features(half)), robust_scale(features(half.astype(np.float64))), atol=1e-6)


def test_missing_rows_are_zero_and_count_for_nothing(cloud):
    present = np.arange(200) % 2 == 0
    spoilt = cloud.copy()
    spoilt[~present] = 1e9
    scaled = robust_scale(features(spoilt, present))
    assert not scaled[~present].any()
    np.testing.assert_allclose(scaled[present], robust_scale(features(cloud[present])), atol=1e-6)


def test_rows_that_are_not_finite_are_missing(cloud):
    cloud[3, 2], cloud[5, 0] = np.inf, np.nan
    scaled = robust_scale(features(cloud))
    assert np.isfinite(scaled).all()
    assert not scaled[[3, 5]].any()


def test_runaway_rows_and_columns_are_held(cloud):
    cloud[7] *= 1e4
    assert np.linalg.norm(robust_scale(features(cloud))[7]) == pytest.approx(ROW_LIMIT, rel=1e-4)
    cloud[:, 1] *= 1e5
    scaled = robust_scale(features(cloud))
    spread = np.delete(scaled, 7, axis=0).std(axis=0)
    assert 8 < spread[1] / np.median(spread) < 13


@pytest.mark.parametrize("vectors", [np.ones((4, 3)), np.zeros((4, 3)), np.full((2, 3), np.nan), np.ones((1, 2))])
def test_items_without_differences_are_zero(vectors):
    assert not robust_scale(features(vectors)).any()


@pytest.mark.parametrize("name", ["image", "audio"])
def test_tiktok(name):
    from pathlib import Path

    file = Path(f"/work/shared/data/tiktok/{name}_feat.npy")
    if not file.is_file():
        pytest.skip("no shared data here")
    raw = np.load(file)
    scaled = robust_scale(features(raw))
    assert np.isfinite(scaled).all()
    lengths = np.linalg.norm(scaled, axis=1)
    assert 0.9 < np.median(lengths) < 1.1
    assert lengths.max() <= ROW_LIMIT * 1.001


def test_many_rows_are_scaled_by_the_statistics_of_some(monkeypatch):
    from demure.features import normalize

    random = np.random.default_rng(0)
    vectors = random.normal(size=(5000, 6)).astype(np.float32) * [1, 1, 1, 1, 1, 300] + 3
    present = random.random(5000) < 0.9
    vectors[17] = np.inf
    features = Features("image", vectors.astype(np.float32), present)
    exact = robust_scale(features)
    monkeypatch.setattr(normalize, "ROWS", 2000)
    blocks = robust_scale(features)
    assert (blocks[~present] == 0).all()
    assert (blocks[17] == 0).all()
    cosine = (exact * blocks).sum(1) / np.maximum(np.linalg.norm(exact, axis=1) * np.linalg.norm(blocks, axis=1), 1e-9)
    assert cosine[present & (np.arange(5000) != 17)].min() > 0.95
    assert np.linalg.norm(blocks) == pytest.approx(np.linalg.norm(exact), rel=0.05)
