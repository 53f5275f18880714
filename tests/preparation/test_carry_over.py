"""`prepare --overwrite` keeps the features that fit, and says which do not."""

import numpy as np
import pandas as pd
import pytest

from demure.errors import FeatureError
from demure.extraction.extract import extract
from demure.features import store
from demure.features.store import Features
from demure.preparation.prepare import PrepareOptions, prepare

TITLES = {"i1": "a red book", "i2": "a blue book", "i3": "green tea", "i4": "a red lamp"}


@pytest.fixture
def shop(tmp_path):
    """Return a function that prepares the shop with these titles, and returns the report and the losses it named."""

    def make(titles, **options):
        notices = []
        pd.DataFrame({"item_id": list(titles), "title": list(titles.values())}).to_csv(
            tmp_path / "items.csv", index=False
        )
        log = pd.DataFrame({"user_id": "u", "item_id": list(titles), "timestamp": range(len(titles))})
        log.to_csv(tmp_path / "log.csv", index=False)
        options = PrepareOptions(
            tmp_path / "log.csv", tmp_path / "ds", items=tmp_path / "items.csv", overwrite=True, **options
        )
        report = prepare(options, notices.append)
        return report, [notice.text for notice in notices if hasattr(notice, "text")]

    return make


class Lengths:
    """A text is its length. Counts the texts that it was given."""

    dim, batch = 4, 8

    def __init__(self):
        self.asked = 0

    def identity(self):
        return {"model": "lengths"}

    def encode(self, texts):
        self.asked += len(texts)
        return np.array([[len(text), 1, 2, 3] for text in texts], dtype=np.float32)


def encode(folder, encoder="tfidf:4"):
    return extract(folder, text=encoder, device="cpu").modalities[0]


def save_imported(folder, items):
    vectors = np.arange(items * 2, dtype=np.float32).reshape(items, 2)
    store.save(folder, Features("bought", vectors, np.ones(items, bool), {"encoder": "import"}))


def test_the_same_items_keep_all_features(shop, tmp_path):
    shop(TITLES)
    folder = tmp_path / "ds"
    encode(folder)
    save_imported(folder, 4)
    before = {name: store.load(folder, name).vectors for name in ("bought", "text")}
    report, losses = shop(TITLES)
    assert report.notes[-1] == "features kept, as the items are the same: bought, text"
    assert losses == []
    for name, vectors in before.items():
        np.testing.assert_array_equal(store.load(folder, name).vectors, vectors)
    assert encode(folder).kept == "up to date"


def test_of_other_texts_only_what_changed_is_encoded(shop, tmp_path, monkeypatch):
    shop(TITLES)
    folder = tmp_path / "ds"
    encoder = Lengths()
    monkeypatch.setattr("demure.extraction.extract.load_encoder", lambda *_: encoder)
    encode(folder)
    assert encoder.asked == 4
    report, losses = shop({**TITLES, "i5": "a new one"})
    assert report.notes[-1] == "features of the earlier items, from which extract takes what has not changed: text"
    assert losses == []
    again, losses = shop({**TITLES, "i5": "a new one"})
    assert (again.notes[-1], losses) == (report.notes[-1], [])
    with pytest.raises(FeatureError, match="no features 'text'"):  # training on the vectors of other texts is refused
        store.load(folder, "text")
    assert store.names(folder) == []
    encode(folder)
    assert encoder.asked == 5
    assert store.load(folder, "text").vectors.shape == (5, 4)
    assert [path.name for path in (folder / "features").iterdir() if "earlier" in path.name] == []


def test_features_that_do_not_fit_are_named_before_they_are_deleted(shop, tmp_path):
    shop(TITLES)
    folder = tmp_path / "ds"
    encode(folder)
    save_imported(folder, 4)
    report, losses = shop({f"other {k}": "of another shop" for k in range(4)})
    assert losses == [
        "features 'bought' are deleted: they belong to other items",
        "features 'text' are deleted: they belong to other items",
    ]
    assert not any("features" in note for note in report.notes)
    assert store.names(folder) == []


def test_earlier_features_that_fit_no_longer_are_named_too(shop, tmp_path):
    shop(TITLES)
    encode(tmp_path / "ds")
    shop({**TITLES, "i5": "a new one"})
    assert shop({"x": "of another shop", "y": "of another shop", "z": "tea"})[1] == [
        "features 'text' are deleted: they belong to other items"
    ]
    assert not list((tmp_path / "ds" / "features").glob(".earlier-*"))


def test_damaged_features_and_those_that_are_imported_anew(shop, tmp_path):
    shop(TITLES)
    folder = tmp_path / "ds"
    save_imported(folder, 4)
    (folder / "features" / "bought" / "features.json").write_text("[]")
    assert shop(TITLES)[1] == ["features 'bought' are deleted: format version None, this demure reads 1"]
    save_imported(folder, 4)
    np.save(tmp_path / "bought.npy", np.ones((4, 3), np.float32))
    assert shop(TITLES, features={"bought": tmp_path / "bought.npy"})[1] == []


def test_several_splits_share_what_is_kept(shop, tmp_path):
    shop(TITLES, split="ratio")
    save_imported(tmp_path / "ds", 4)
    report, _ = shop(TITLES, split="all")
    assert report.notes[-1] == "features kept, as the items are the same: bought"
    for folder in report.folders.values():
        assert store.load(folder, "bought").vectors.shape == (4, 2)
    report, _ = shop(TITLES, split="all")
    assert report.notes[-1] == "features kept, as the items are the same: bought"
