"""Exact top-k against a full sort; the approximate one finds nearly the same."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demure.errors import DemureError, MachineError
from demure.serving import index as module
from demure.serving.index import build_index, exact_top_k, index_items, recall_of, search


@settings(max_examples=30)
@given(st.integers(0, 5), st.integers(1, 30), st.integers(1, 4), st.integers(0, 999))
def test_exact_is_a_full_sort(queries, items, dim, seed):
    rng = np.random.default_rng(seed)
    q, v = rng.integers(-2, 3, (queries, dim)).astype(np.float32), rng.integers(-2, 3, (items, dim)).astype(np.float32)
    k = int(rng.integers(1, items + 1))
    best, scores = exact_top_k(q, v, k)
    expected = np.argsort(-(q @ v.T), axis=1, kind="stable")[:, :k]
    assert best.tolist() == expected.tolist()
    assert scores.tolist() == np.take_along_axis(q @ v.T, expected, 1).tolist()


@pytest.mark.parametrize("k", [0, 4])
def test_a_k_that_cannot_be_had(k):
    with pytest.raises(DemureError, match=f"k is {k}; give 1 to 3"):
        exact_top_k(np.ones((1, 2), np.float32), np.ones((3, 2), np.float32), k)


def test_recall_by_hand():
    assert recall_of(np.array([[1, 2], [3, 4]]), np.array([[2, 9], [4, 3]])) == 3 / 4


def test_the_approximate_search_finds_nearly_all(tmp_path):
    usearch = pytest.importorskip("usearch.index")
    rng = np.random.default_rng(0)
    items = (rng.normal(size=(3000, 16)) * rng.gamma(2, size=(3000, 1))).astype(np.float32)
    queries = rng.normal(size=(200, 16)).astype(np.float32)
    report = index_items("items", items, queries, 10, tmp_path / "items.usearch")
    assert report.recall > 0.9
    assert (report.items, report.dim, report.k, report.queries) == (3000, 16, 10, 200)
    again = usearch.Index.restore(str(tmp_path / "items.usearch"))
    exact, _ = exact_top_k(queries, items, 10)
    assert recall_of(exact, search(again, queries, 10)) == pytest.approx(report.recall, abs=0.02)
    single = search(again, queries[:1], 10)
    assert single.shape == (1, 10)
    assert (single[0] >= 0).all()


def test_items_called_otherwise_and_fewer_than_asked_for():
    pytest.importorskip("usearch")
    index = build_index(np.eye(3, dtype=np.float32), np.array([7, 5, 9]))
    items = search(index, np.array([[0.0, 1.0, 0.0]], np.float32), 3)
    assert items[0, 0] == 5
    assert set(items[0]) <= {5, 7, 9, -1}


def test_without_usearch_its_extra_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "usearch", None)
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(MachineError, match=r"usearch is not installed; pip install 'demure\[ann\]'"):
        module.require_usearch()
