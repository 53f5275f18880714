"""Items that came after the training score as they would have with training."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from support.small_catalogue import NEVER

import demure
from demure.data.dataset import Dataset
from demure.errors import DataError, DemureError
from demure.model.content_items import ContentItemModel, ContentItemParameters
from demure.model.denoiser import Denoiser
from demure.model.item_item import build_item_item
from demure.model.nearest_items import nearest_items
from demure.model.recommender import Recommender
from demure.model.stored_names import attribute_name
from demure.runs.load import load_run
from demure.runs.new_content import ContentEncoder
from demure.runs.new_items import extend, with_new_items


def scaled(encoder, name):
    features = encoder.stored(name)
    return encoder.projections[name].scale.apply(features.vectors, features.present), features.present


def recommender_of(loaded, encoder, items):
    """The run's recommender over its first ``items`` items, with every part switched on."""
    model = loaded.recommender
    counts = model.train_counts_I[:items]
    tensors = {attribute_name(name): tensor for name, tensor in model.denoiser.state_dict().items()}
    for name, tensor in tensors.items():
        if tensor.ndim and len(tensor) == len(model.train_counts_I):
            tensors[name] = tensor[:items]
    smoothed = torch.as_tensor(counts + 1.0, dtype=torch.float32)
    tensors["popularity_I"] = smoothed / smoothed.sum()
    denoiser = Denoiser.from_tensors(tensors, model.denoiser.modalities, model.denoiser.settings, ordered=True).eval()
    train = loaded.dataset.histories("train")
    parameters = replace(model.item_item.parameters, linear=0.3)
    nearest = {}
    for name in encoder.modalities:
        vectors, present = scaled(encoder, name)
        nearest[name] = nearest_items(vectors[:items], present[:items])
    fusion = replace(model.fusion, collaborative=0.7, content=0.4, scarce=0.2, new_items=0.5)
    similar = ContentItemModel(nearest, fusion.expected_counts(counts), ContentItemParameters(share=0.3))
    return Recommender(
        denoiser, build_item_item(train, counts, parameters, 5), fusion, counts, max_history=20, content_items=similar
    )


@pytest.fixture(scope="module")
def loaded(catalogue_run):
    return load_run(catalogue_run, device="cpu")


def test_hidden_items_score_as_if_they_had_been_there(loaded):
    """Oracle: the model of all items; the items n0, n1, ... without interactions are then cut from it and added."""
    encoder = ContentEncoder(loaded)
    n_items = loaded.dataset.n_items
    # What interactions teach about an item, its offsets, a new item cannot have.
    for expert in loaded.recommender.denoiser.experts():
        expert.kernel.offset_ID.data[-NEVER:] = 0
        expert.clusters.offset_IC[-NEVER:] = 0
    full = recommender_of(loaded, encoder, n_items)
    encoder.loaded = replace(loaded, recommender=recommender_of(loaded, encoder, n_items - NEVER))
    for name in encoder.modalities:
        features = encoder.stored(name)
        cut = {"vectors": features.vectors[:-NEVER], "present": features.present[:-NEVER]}
        encoder._stored[name] = replace(features, **cut)
    hidden = loaded.dataset.items.iloc[-NEVER:].reset_index(drop=True)
    content = encoder.encode_items(hidden, loaded.dataset.images_root)
    extended = extend(encoder, hidden["item_id"].to_numpy(dtype=object), content).recommender
    histories = loaded.dataset.histories("train").padded(np.arange(40))
    expected, terms = full.terms(histories), extended.terms(histories)
    np.testing.assert_allclose(terms.content, expected.content, atol=2e-4)
    np.testing.assert_allclose(terms.collaborative, expected.collaborative, atol=2e-4)
    np.testing.assert_allclose(extended.score(terms), full.score(expected), atol=5e-4)
    assert (extended.because(terms) == full.because(expected)).float().mean() > 0.999


def new_file(folder):
    folder.mkdir(exist_ok=True)
    Image.new("RGB", (40, 40), (200, 40, 40)).save(folder / "red.png")
    (folder / "broken.png").write_bytes(b"no picture")
    rows = [("new1", "alien laser", "red.png"), ("new2", None, "broken.png"), ("i0", "again", None)]
    pd.DataFrame(rows, columns=["item_id", "title", "image"]).to_csv(folder / "new.csv", index=False)
    return folder / "new.csv"


def test_new_items_are_among_the_others_and_what_they_lack_is_noted(loaded, tmp_path):
    file = new_file(tmp_path)
    extended = with_new_items(loaded, file, device="cpu")
    assert list(extended.loaded.new_item_ids) == ["new1", "new2"]
    notes = "\n".join(extended.notes)
    assert "1 items are in the dataset already" in notes
    assert "image: 1 of 2 new items lack it" in notes
    assert "new2: no content" in notes
    users = [str(user) for user in loaded.dataset.user_ids[:5]]
    every = extended.loaded.recommend(users, 1000)
    assert {"new1", "new2"} <= set(every["item_id"])
    alone = extended.loaded.recommend(users, 1000, only_new=True)
    assert set(alone["item_id"]) == {"new1", "new2"}
    both = every.merge(alone, on=["user_id", "item_id"], suffixes=("", "_alone"))
    assert len(both) == 2 * len(users)
    np.testing.assert_allclose(both["score"], both["score_alone"])


def test_new_items_of_equal_score_are_in_the_order_of_their_content(loaded):
    """Without content in the score and without similar content, nothing else ranks new items."""
    titles = ["alien laser", "heart kiss", "murder clue", "castle sword"]
    frame = pd.DataFrame({"item_id": [f"new{k}" for k in range(4)], "title": titles})
    extended = with_new_items(loaded, frame, device="cpu").loaded
    extended.recommender.fusion = replace(extended.recommender.fusion, content=0.0, scarce=0.0)
    extended.recommender.content_items = None
    users = np.arange(20)
    ids = [str(user) for user in loaded.dataset.user_ids[users]]
    content, _ = extended.recommender.content(loaded.dataset.histories("train", "valid", "test").padded(users))
    expected = np.argsort(-content[:, -4:], axis=1, kind="stable")
    for k in (4, 2):
        lists = extended.recommend(ids, k, only_new=True)
        assert lists.groupby("user_id")["score"].nunique().eq(1).all()
        for user, order in zip(ids, expected, strict=True):
            assert lists.loc[lists["user_id"] == user, "item_id"].tolist() == [f"new{n}" for n in order[:k]]
    assert len({tuple(order) for order in expected}) > 1


def test_a_file_without_new_items_is_refused(loaded, tmp_path):
    pd.DataFrame({"item_id": ["i0", "i1"], "title": ["a", "b"]}).to_csv(tmp_path / "old.csv", index=False)
    with pytest.raises(DataError, match="no new item"):
        with_new_items(loaded, tmp_path / "old.csv")


def test_from_python_and_by_vectors(run, tmp_path):
    """The modalities of this run were imported: new items bring vectors, or lack them."""
    opened = demure.Run.load(run, device="cpu")
    frame = opened.recommend("u0", items=pd.DataFrame({"item_id": ["new"], "title": ["any"]}), only_new=True)
    assert frame["item_id"].tolist() == ["new"]
    assert frame["title"].tolist() == ["any"]
    assert any(note.startswith("text: 1 of 1 new items lack it") for note in frame.attrs["notes"])
    dataset = Dataset.load(opened.dataset.path)
    pd.DataFrame({"item_id": ["new"]}).to_csv(tmp_path / "new.csv", index=False)
    vector = ContentEncoder(load_run(run)).stored("image").vectors[:1]
    np.save(tmp_path / "image.npy", vector)
    extended = with_new_items(load_run(run), tmp_path / "new.csv", features={"image": tmp_path / "image.npy"})
    expert = extended.loaded.recommender.denoiser.experts()[0]
    assert len(expert.present_I) == dataset.n_items + 1
    assert expert.present_I[-1] == 1
    assert any(note.startswith("text: 1 of 1 new items lack it") for note in extended.notes)
    np.save(tmp_path / "image.npy", np.ones((2, 3), np.float32))
    with pytest.raises(DemureError, match="2 rows for 1 items"):
        with_new_items(load_run(run), tmp_path / "new.csv", features={"image": tmp_path / "image.npy"})
