"""Features made elsewhere: by row of the items file, or by item id."""

import numpy as np
import pandas as pd
import pytest

from demure.errors import FeatureError
from demure.features import importing, store
from demure.features.importing import import_features


@pytest.fixture
def three(tmp_path):
    folder = tmp_path / "dataset"
    folder.mkdir()
    pd.DataFrame({"item_id": ["a", "007", "c"]}).to_parquet(folder / "items.parquet")
    return folder


def npy(folder, array):
    np.save(folder / "x.npy", array)
    return folder / "x.npy"


def test_rows_are_taken_by_number_and_empty_ones_are_missing(three, tmp_path):
    matrix = np.arange(12, dtype=np.float32).reshape(6, 2)
    matrix[4] = 0
    file = npy(tmp_path, matrix)
    import_features(three, "audio", file, np.array([5, 4, 1]), total=6)
    loaded = store.load(three, "audio")
    assert loaded.vectors.tolist() == [[10, 11], [0, 0], [2, 3]]
    assert loaded.present.tolist() == [True, False, True]
    assert loaded.provenance["source_rows"] == 6


def test_blocks_of_rows_give_the_same_file(three, tmp_path, monkeypatch):
    matrix = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    matrix[1, 2], matrix[3] = np.inf, 0.0
    file, rows = npy(tmp_path, matrix), np.array([4, 1, 3])
    import_features(three, "audio", file, rows)
    whole = store.read_manifest(three, "audio")
    for size in (1, 2):
        monkeypatch.setattr(importing, "ROWS", size)
        import_features(three, "audio", file, rows)
        assert store.read_manifest(three, "audio") == whole
    assert (whole.present, whole.provenance["rows_infinite"], whole.dtype) == (1, 1, "float32")


@pytest.mark.parametrize("value", [0, np.nan, np.inf, -np.inf])
def test_zero_nan_and_infinite_rows_are_missing(three, tmp_path, value):
    matrix = np.ones((3, 2), dtype=np.float16)
    matrix[1] = value
    import_features(three, "audio", npy(tmp_path, matrix))
    loaded = store.load(three, "audio")
    assert loaded.present.tolist() == [True, False, True]
    assert np.isfinite(loaded.vectors).all()
    assert loaded.provenance["rows_not_finite"] == (0 if value == 0 else 1)


def test_one_nan_in_a_row_is_enough(three, tmp_path):
    import_features(three, "audio", npy(tmp_path, np.array([[1, 2], [np.nan, 1], [3, 4.0]])))
    assert store.load(three, "audio").present.tolist() == [True, False, True]


def test_an_item_without_a_row_is_missing(three, tmp_path):
    import_features(three, "audio", npy(tmp_path, np.ones((2, 2), np.int8)), np.array([0, -1, 1]))
    assert store.load(three, "audio").present.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("array", "total", "message"),
    [
        (np.ones((2, 2)), None, "2 rows for 3 items"),
        (np.ones((4, 2)), 3, "4 rows for 3 items"),
        (np.ones((2, 2)), 3, "2 rows for 3 items"),
        (np.ones(3), None, r"shape \(3,\) is not a matrix"),
        (np.array([["a"]] * 3), None, "is not a matrix of numbers"),
        (np.zeros((3, 2)), None, "all 3 rows are zero or not finite"),
    ],
)
def test_other_shapes_are_refused_with_the_counts(three, tmp_path, array, total, message):
    with pytest.raises(FeatureError, match=message):
        import_features(three, "audio", npy(tmp_path, array), total=total)
    assert store.names(three) == []


def test_files_that_are_no_matrix(three, tmp_path):
    (tmp_path / "bad.npy").write_bytes(b"nonsense")
    (tmp_path / "bad.parquet").write_bytes(b"nonsense")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    for name, message in (
        ("bad.npy", "cannot be read"),
        ("objects.npy", "cannot be read"),
        ("bad.parquet", "cannot be read as Parquet"),
        ("none.npy", "no such file"),
    ):
        with pytest.raises(FeatureError, match=message):
            import_features(three, "audio", tmp_path / name)
    (tmp_path / "x.csv").write_text("")
    with pytest.raises(FeatureError, match=r"'.csv' is not a feature file"):
        import_features(three, "audio", tmp_path / "x.csv")


def parquet(folder, **columns):
    pd.DataFrame(columns).to_parquet(folder / "x.parquet")
    return folder / "x.parquet"


def test_parquet_goes_by_item_id_whatever_its_order(three, tmp_path):
    file = parquet(tmp_path, item_id=["zz", "c", "007"], vector=[[9.0, 9], [1, 2], [3, 4]])
    import_features(three, "audio", file, np.array([2, 1, 0]))
    loaded = store.load(three, "audio")
    assert loaded.vectors.tolist() == [[0, 0], [3, 4], [1, 2]]
    assert loaded.present.tolist() == [False, True, True]
    assert loaded.provenance["rows_of_unknown_items"] == 1


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a"], "vector": [[1.0]]}, "no column 'item_id'"),
        ({"item_id": ["a", "a"], "vector": [[1.0], [2.0]]}, "item 'a' has two rows"),
        ({"item_id": ["a", "c"], "vector": [[1.0], [2.0, 3.0]]}, "vectors of 2 different lengths"),
        ({"item_id": ["x", "y"], "vector": [[1.0], [2.0]]}, "none of its 2 item ids is one of the dataset's 3"),
    ],
)
def test_parquet_that_does_not_fit(three, tmp_path, columns, message):
    with pytest.raises(FeatureError, match=message):
        import_features(three, "audio", parquet(tmp_path, **columns))
