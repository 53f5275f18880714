"""Features come back as they were saved, or not at all."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from demure.errors import FeatureError
from demure.features import store
from demure.features.store import Features


def dataset(folder, n=4):
    folder.mkdir(exist_ok=True)
    pd.DataFrame({"item_id": [f"i{k}" for k in range(n)]}).to_parquet(folder / "items.parquet")
    return folder


@pytest.fixture
def four(tmp_path):
    return dataset(tmp_path / "dataset")


finite = st.floats(-1e4, 1e4, width=32)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrays.arrays(np.float32, (4, 3), elements=finite), arrays.arrays(bool, 4))
def test_what_is_saved_is_loaded(four, vectors, present):
    store.save(four, Features("image", vectors, present, {"encoder": "x"}))
    loaded = store.load(four, "image")
    assert loaded.vectors.dtype == np.float32
    np.testing.assert_array_equal(loaded.vectors, np.where(present[:, None], vectors, 0))
    np.testing.assert_array_equal(loaded.present, present)
    assert loaded.provenance == {"encoder": "x"}
    assert store.names(four) == ["image"]


def test_float16_is_kept_only_where_nothing_is_lost(four):
    half = np.array([[0.5, 65504.0]] * 4, dtype=np.float32)
    store.save(four, Features("a", half, np.ones(4, bool)))
    store.save(four, Features("b", half / 3, np.ones(4, bool)))
    assert store.read_manifest(four, "a").dtype == "float16"
    assert store.read_manifest(four, "b").dtype == "float32"
    np.testing.assert_array_equal(store.load(four, "b").vectors, half / 3)


def test_the_manifest_counts(four):
    store.save(four, Features("a", np.ones((4, 2)), np.array([True, False, True, True])), {"problems.csv": "x\n"})
    manifest = store.read_manifest(four, "a")
    assert (manifest.items, manifest.present, manifest.missing, manifest.dim) == (4, 3, 1, 2)
    assert (four / "features" / "a" / "problems.csv").read_text() == "x\n"
    assert len({path.stat().st_mode for path in (four / "features" / "a").iterdir()}) == 1


@pytest.mark.parametrize("name", ["", "none", "history", "a/b", "../x", ".hidden", "a b", "x" * 65])
def test_names_that_would_mean_something_else(four, name):
    with pytest.raises(FeatureError, match="cannot name a modality"):
        store.save(four, Features(name, np.ones((4, 2)), np.ones(4, bool)))


@pytest.mark.parametrize("vectors", [np.ones((3, 2)), np.ones(4), np.ones((4, 0)), np.full((4, 2), np.inf)])
def test_rows_that_are_not_the_items_are_refused(four, vectors):
    with pytest.raises(FeatureError):
        store.save(four, Features("a", vectors, np.ones(len(vectors), bool)))
    assert store.names(four) == []


def test_the_manifest_is_what_is_written(four):
    folder = store.save(four, Features("a", np.ones((4, 2)), np.ones(4, bool), {"encoder": "x", "kind": "text"}))
    manifest = store.read_manifest(four, "a")
    assert manifest.to_dict() == json.loads((folder / "features.json").read_text())
    assert (manifest.encoder, manifest.kind, manifest.columns) == ("x", "text", [])


def test_features_of_other_items_are_refused(four):
    store.save(four, Features("a", np.ones((4, 2)), np.ones(4, bool)))
    dataset(four, 5)
    with pytest.raises(FeatureError, match="made for 4 other items than the dataset's 5"):
        store.load(four, "a")


def test_absent_damaged_and_of_another_version(four):
    with pytest.raises(FeatureError, match=r"no features 'a' \(there are: none\)"):
        store.load(four, "a")
    folder = store.save(four, Features("a", np.ones((4, 2)), np.ones(4, bool)))
    assert store.intact(four, "a")
    whole = (folder / "features.safetensors").read_bytes()
    (folder / "features.safetensors").write_bytes(whole[:-5])
    assert not store.intact(four, "a")
    with pytest.raises(FeatureError, match="damaged"):
        store.load(four, "a")
    content = json.loads((folder / "features.json").read_text())
    (folder / "features.json").write_text(json.dumps(content | {"format_version": 99}))
    with pytest.raises(FeatureError, match="format version 99, this demure reads 1"):
        store.load(four, "a")


def test_no_dataset_no_features(tmp_path):
    with pytest.raises(FeatureError, match=r"items cannot be used: .*items.parquet: is missing"):
        store.save(tmp_path, Features("a", np.ones((4, 2)), np.ones(4, bool)))
