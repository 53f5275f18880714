"""Interests of CLIP features are named by the concept words nearest to their pictures."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from support.tiny_models import clip_folder

from demure.data.dataset import Dataset
from demure.diagnosis.interests.concepts import concept_words, encode_concepts, is_clip, nearest_concepts
from demure.diagnosis.interests.naming import Term, compose_names
from demure.errors import DemureError
from demure.extraction.extract import extract
from demure.features import store
from demure.training.interests import describe_interests


def test_the_list_has_different_words():
    words = concept_words()
    assert len(words) == len(set(words)) > 400
    assert all(word and not word.startswith("#") for word in words)


def test_words_are_those_that_set_an_interest_apart():
    """Pictures are the vectors of their words, all moved by the same gap; one word is near to every picture."""
    random = np.random.default_rng(0)
    word = random.normal(size=(len(concept_words()), 32))
    gap = 3 * random.normal(size=32)
    word[0] = gap  # near to all pictures
    word /= np.linalg.norm(word, axis=1, keepdims=True)
    meant = [5, 77, 300]
    pictures = np.repeat(word[meant], 4, axis=0) + gap
    weight = np.kron(np.eye(4)[:, :3], np.ones(4))  # nobody chose by the last interest
    present = np.arange(12) != 0
    named = nearest_concepts(weight, np.where(present[:, None], pictures, 0.0), present, word)
    assert [own[0] for own in named[:3]] == [concept_words()[w] for w in meant]
    assert named[3] == []
    assert nearest_concepts(weight[:1], pictures, present, word) == [[]]


def test_names_begin_with_what_pictures_show():
    terms = [[Term("denim", 0.5, 0.1), Term("trousers", 0.5, 0.1)], [Term("red", 0.5, 0.1)]]
    colours = [["dark blue", "white"], ["red", "pink"]]
    assert compose_names(terms, colours, [["jeans", "denim"], []]) == ["jeans, denim, dark blue", "red, pink"]
    assert compose_names(terms, colours, [["blue jeans"], ["red"]]) == ["blue jeans, white, denim", "red, pink"]


@pytest.fixture(scope="module")
def dataset(catalogue, tmp_path_factory):
    """A dataset whose pictures were encoded by a tiny CLIP model."""
    folder = tmp_path_factory.mktemp("clip")
    model = clip_folder(folder / "model")
    copy = shutil.copytree(catalogue, folder / "dataset")
    extract(copy, text=None, image=f"clip:{model}", device="cpu")
    return Dataset.load(copy)


def test_the_text_tower_is_that_of_the_features(dataset, tmp_path):
    manifest = store.read_manifest(dataset.path, "image").to_dict()
    assert is_clip(manifest)
    vectors = encode_concepts(manifest)
    assert vectors.shape == (len(concept_words()), 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-3)
    other = clip_folder(tmp_path / "other", preprocess={"mean": [0.5] * 3, "std": [0.5] * 3})
    manifest["provenance"]["encoder"] = f"clip:{other}"
    with pytest.raises(DemureError, match="is not the model that made the features"):
        encode_concepts(manifest)
    manifest["provenance"]["encoder"] = "clip:nobody/nothing"
    with pytest.raises(DemureError, match="offline mode"):
        encode_concepts(manifest)


def test_interests_are_named_by_concepts_or_a_notice_gives_the_reason(dataset, catalogue_run, tmp_path):
    run = shutil.copytree(catalogue_run, tmp_path / "run")
    diagnosis = pd.read_parquet(run / "diagnosis.parquet")
    diagnosis.assign(poi_probability=0.5).to_parquet(run / "diagnosis.parquet")
    stored = json.loads((run / "interests.json").read_text())
    manifests = {name: store.read_manifest(dataset.path, name).to_dict() for name in stored}
    sizes = {name: len(own) for name, own in stored.items()}
    placebos = {name: SimpleNamespace(interests=None) for name in stored}
    reports = []
    describe_interests(dataset, run, manifests, sizes, placebos, reports.append)
    named = json.loads((run / "interests.json").read_text())
    assert not reports
    assert not any(interest["concepts"] for interest in named["text"])
    shown = [interest for interest in named["image"] if interest["concepts"]]
    assert shown
    assert set().union(*(interest["concepts"] for interest in shown)) <= set(concept_words())
    assert all(interest["name"].startswith(", ".join(interest["concepts"])) for interest in shown)

    manifests["image"]["provenance"]["encoder"] = "clip:nobody/nothing"
    describe_interests(dataset, run, manifests, sizes, placebos, reports.append)
    unnamed = json.loads((run / "interests.json").read_text())["image"]
    assert {interest["name"] for interest in unnamed} != {interest["name"] for interest in named["image"]}
    assert not any(interest["concepts"] for interest in unnamed)
    (notice,) = reports
    assert "'image' are named by colours and words" in notice.text
