"""From raw files to features: a row of the items file stays with its item through filtering and reordering."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from demure.data.dataset import Dataset
from demure.errors import DatasetError, DemureError, FeatureError
from demure.extraction.extract import extract
from demure.features import store
from demure.preparation.prepare import PrepareOptions
from demure.preparation.with_features import prepare_with_features

SHARED = Path("/work/shared/data")


@pytest.fixture
def raw(tmp_path):
    """Ten items, of which the 3-core keeps those with even numbers; the file lists them backwards."""
    folder = tmp_path / "raw"
    folder.mkdir()
    rows = [(f"u{u}", f"{i:03d}", 100 * u + i) for u in range(6) for i in range(0, 10, 2)] + [("u0", "001", 999)]
    pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"]).to_csv(folder / "interactions.csv", index=False)
    numbers = list(range(9, -1, -1))
    for i in numbers:
        Image.new("RGB", (8, 8), (20 * i, 100, 0)).save(folder / f"{i}.png")
    items = {"item_id": [f"{i:03d}" for i in numbers], "title": [f"number {i}" for i in numbers]}
    items["image"] = [f"{i}.png" for i in numbers]
    pd.DataFrame(items).to_csv(folder / "items.csv", index=False)
    np.save(folder / "sound.npy", np.array([[i, 1] for i in numbers], dtype=np.float32))
    return folder


def prepare(raw, **changes):
    options = {"items": raw / "items.csv", "features": {"sound": raw / "sound.npy"}, "k_core": 3, **changes}
    return prepare_with_features(PrepareOptions(raw / "interactions.csv", raw.parent / "dataset", **options))


def test_rows_stay_with_their_items(raw):
    folder = prepare(raw).dataset
    dataset, sound = Dataset.load(folder), store.load(folder, "sound")
    assert dataset.modalities() == ["sound"]
    assert [int(item_id) for item_id in dataset.item_ids] == sound.vectors[:, 0].astype(int).tolist()
    assert sound.present.all()
    assert "002" in dataset.item_ids


def test_a_parquet_goes_by_item_id(raw):
    file = raw / "sound.parquet"
    pd.DataFrame({"item_id": ["004", "002"], "vector": [[4.0], [2.0]]}).to_parquet(file)
    folder = prepare(raw, features={"sound": file}).dataset
    sound = store.load(folder, "sound")
    values = dict(zip(Dataset.load(folder).item_ids, sound.vectors[:, 0], strict=True))
    assert (values["004"], values["002"]) == (4, 2)
    assert sound.present.sum() == 2


@pytest.mark.parametrize("matrix", [np.ones((9, 2)), np.ones((11, 2)), np.zeros((10, 2)), np.ones(10)])
def test_features_that_do_not_fit_leave_nothing_behind(raw, matrix):
    np.save(raw / "sound.npy", matrix)
    before = sorted(raw.parent.iterdir())
    with pytest.raises(DemureError):
        prepare(raw)
    assert sorted(raw.parent.iterdir()) == before


def test_a_bad_name_leaves_nothing_behind(raw):
    with pytest.raises(FeatureError, match="'none' cannot name a modality"):
        prepare(raw, features={"none": raw / "sound.npy"})
    assert not (raw.parent / "dataset").exists()


def test_the_built_in_encoders_run_on_what_there_is(raw):
    folder = prepare(raw).dataset
    report = extract(folder)
    assert [(made.name, made.encoder, made.missing) for made in report.modalities] == [
        ("text", "tfidf", 0),
        ("image", "color", 0),
    ]
    dataset = Dataset.load(folder)
    assert dataset.modalities() == ["image", "sound", "text"]
    assert [made.kept for made in extract(folder).modalities] == ["up to date", "up to date"]


def test_no_dataset(tmp_path):
    with pytest.raises(DatasetError):
        extract(tmp_path)


@pytest.mark.skipif(not (SHARED / "tiktok").is_dir(), reason="no shared data here")
def test_tiktok_comes_with_its_features(tmp_path):
    options = PrepareOptions(
        SHARED / "tiktok" / "tiktok.inter", tmp_path / "tiktok", format="mmrec", split="given", features={}
    )
    folder = prepare_with_features(options).dataset
    image = store.load(folder, "image")
    raw = np.load(SHARED / "tiktok" / "image_feat.npy")
    ids = Dataset.load(folder).item_ids.astype(int)
    np.testing.assert_array_equal(image.vectors, raw[ids].astype(np.float32))
    assert store.read_manifest(folder, "audio").dtype == "float16"
