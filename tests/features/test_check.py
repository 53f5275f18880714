"""The result of `demure features check` for features that are known to be good, collapsed, doubled or constant."""

import json

import numpy as np
import pytest
from support.small_sets import prepared_set

from demure.errors import FeatureError
from demure.features import store
from demure.features.check import check_features
from demure_cli.app import main

N = 60


@pytest.fixture
def folder(tmp_path):
    items = {"item_id": [f"i{k}" for k in range(N)], "title": [f"title {k}" for k in range(N)]}
    return prepared_set(tmp_path / "set", items=items)


def put(folder, vectors, present=None, name="text"):
    store.save(folder, store.Features(name, vectors, np.ones(N, bool) if present is None else present))


def test_numbers_worked_out_by_hand(folder):
    vectors = np.zeros((N, 4), dtype=np.float32)
    vectors[0::2, 0], vectors[1::2, 1], vectors[:, 3] = 3, 3, 4
    present = np.arange(N) >= 10
    put(folder, vectors, present)
    [checked] = check_features(folder)
    assert (checked.present, checked.missing, checked.dim) == (50, 10, 4)
    assert checked.norms == (5, 5, 5)
    assert (checked.duplicates, checked.same_input, checked.constant) == (50, None, 2)
    # 25 of each kind: cosine 1 within, 16/25 across.
    pairs_within, pairs_across = 2 * 25 * 24, 2 * 25 * 25
    assert checked.similarity == pytest.approx((pairs_within + pairs_across * 16 / 25) / (50 * 49))
    assert checked.effective_dim == pytest.approx(1)
    assert any("2 of 4 columns have one value" in words for words in checked.warnings)
    assert any("50 items have the vector of another item" in words for words in checked.warnings)


def test_good_features_are_not_complained_of(folder):
    put(folder, np.random.default_rng(0).normal(size=(N, 16)))
    [checked] = check_features(folder)
    assert checked.warnings == []
    assert checked.effective_dim > 8
    assert abs(checked.similarity) < 0.05


def test_collapsed_features_are(folder):
    put(folder, 100 + np.random.default_rng(0).normal(size=(N, 16)))
    [checked] = check_features(folder)
    assert any(words.startswith("collapsed: two items have a cosine of 1.00") for words in checked.warnings)


def test_lengths_and_gaps(folder):
    vectors = np.random.default_rng(0).normal(size=(N, 16))
    vectors[5] *= 100
    put(folder, vectors, np.arange(N) < 20)
    [checked] = check_features(folder)
    assert any("40 of 60 items lack it" in words for words in checked.warnings)
    assert any("some items outweigh others" in words for words in checked.warnings)


def test_neighbours_are_those_of_a_plain_search(folder):
    vectors = np.random.default_rng(1).normal(size=(N, 8)).astype(np.float32)
    present = np.arange(N) % 3 > 0
    put(folder, vectors, present)
    [checked] = check_features(folder, items=["i4"], nearest=5)
    rows = np.flatnonzero(present)
    centred = vectors - vectors[rows].mean(axis=0)
    cosine = [
        (centred[4] @ centred[k] / np.linalg.norm(centred[4]) / np.linalg.norm(centred[k]), k) for k in rows if k != 4
    ]
    best = sorted(cosine, reverse=True)[:5]
    [shown] = checked.neighbours
    assert (shown.item_id, shown.title) == ("i4", "title 4")
    assert [near.item_id for near in shown.nearest] == [f"i{k}" for _, k in best]
    assert [near.similarity for near in shown.nearest] == pytest.approx([value for value, _ in best], abs=1e-5)


def test_items_without_the_modality_have_no_neighbours(folder):
    put(folder, np.random.default_rng(1).normal(size=(N, 8)), np.arange(N) > 0)
    assert check_features(folder, items=["i0"])[0].neighbours == []


def test_refusals(folder):
    with pytest.raises(FeatureError, match="has no features; run `demure extract` first"):
        check_features(folder)
    put(folder, np.eye(N))
    with pytest.raises(FeatureError, match="no features 'sound'"):
        check_features(folder, ["sound"])
    with pytest.raises(FeatureError, match="no item 'zzz'"):
        check_features(folder, items=["zzz"])


@pytest.mark.parametrize("width", [80, 160])
def test_the_table(folder, capsys, monkeypatch, width):
    put(folder, np.random.default_rng(0).normal(size=(N, 16)))
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["features", "check", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "title 0" in shown
    assert max(map(len, shown.splitlines())) <= width
    assert main(["features", "check", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["features"][0]["present"] == N
