"""The search by words lists the items whose content is nearest, and says what it cannot search."""

import shutil

import numpy as np
import pytest
from support.manifests import rewrite
from support.small_catalogue import WORDS
from support.tiny_models import clip_folder

from demure import Run
from demure.data.dataset import Dataset
from demure.diagnosis.interests.concepts import concept_words, encode_concepts
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.search import ContentSearch
from demure.errors import DemureError
from demure.extraction.extract import extract
from demure.features import store
from demure.runs.load import load_run
from demure.runs.new_content import ContentEncoder


@pytest.fixture(scope="module")
def search(catalogue):
    return ContentSearch(Dataset.load(catalogue), ["attributes", "image", "text"])


def test_the_nearest_items_have_the_words(catalogue_run):
    frame = Run.load(catalogue_run).search("alien SPACE", top=8)
    assert list(frame) == ["modality", "rank", "item_id", "title", "similarity"]
    assert frame["modality"].unique().tolist() == ["text"]
    assert frame["rank"].tolist() == list(range(1, 9))
    assert frame["similarity"].is_monotonic_decreasing
    assert all(set(title.split()) <= set(WORDS[0].split()) for title in frame["title"])
    assert frame.attrs["notes"] == []
    assert "<table" in frame._repr_html_()


def test_the_cosines_are_those_of_new_content_among_the_scaled_features(search, catalogue_run):
    """Oracle: the encoder for content after a training, with the scale that its projection keeps."""
    reader, encoder = DiagnosisReader.open(catalogue_run), ContentEncoder(load_run(catalogue_run))
    content = encoder.encode_texts("text", ["murder crime"])
    vector = encoder.projections["text"].scale.apply(content.vectors, content.present)[0]
    cosine = reader.unit_features["text"] @ (vector / np.linalg.norm(vector))
    matches = search.nearest("murder  crime", "text", top=5).matches["text"]
    assert [match.item_id for match in matches] == [
        str(encoder.loaded.dataset.item_ids[k]) for k in np.argsort(-cosine, kind="stable")[:5]
    ]
    np.testing.assert_allclose([match.similarity for match in matches], np.sort(cosine)[::-1][:5], atol=1e-5)
    few = {matches[1].item_id, matches[3].item_id, "nobody's"}
    among = search.nearest("murder crime", "text", among=few).matches["text"]
    assert [match.item_id for match in among] == [matches[1].item_id, matches[3].item_id]


def test_unknown_words_are_named(search):
    result = search.nearest("sword xyzzy")
    assert result.notes == ["text: the encoder does not know “xyzzy”, which the search leaves out."]
    assert result.matches["text"] == search.nearest("sword").matches["text"]
    result = search.nearest("xyzzy plugh")
    assert result.matches == {"text": []}
    assert result.notes == ["text: the encoder knows none of these words: few of the items have them, or most do."]


def test_what_cannot_be_searched_has_a_sentence(search, run):
    assert "clip:MODEL" in search.nearest("sword", "image").notes[0]
    assert "(attributes) does not read words." in search.nearest("sword", "attributes").notes[0]
    imported = ContentSearch(Dataset.load(load_run(run).dataset.path), ["image", "text"]).nearest("sword")
    assert imported.matches == {}
    assert [note.partition(":")[0] for note in imported.notes] == ["image", "text"]
    assert all("imported as vectors" in note for note in imported.notes)
    assert ContentSearch(search.dataset, []).nearest("sword").notes == ["The run has no content to search."]


def test_an_encoder_that_is_gone_has_a_sentence(catalogue, tmp_path):
    copy = shutil.copytree(catalogue, tmp_path / "dataset")
    manifest = copy / "features" / "text" / "features.json"
    rewrite(manifest, lambda content: content["provenance"].update(encoder="nobody:model"))
    result = ContentSearch(Dataset.load(copy), ["text"]).nearest("sword")
    assert result.matches == {}
    assert "text: it cannot be searched" in result.notes[0]
    assert "nobody:model" in result.notes[0]


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        (" \x00 ", {}, "no words"),
        (None, {}, "no words"),
        (["a", "b"], {}, "no words"),
        ("a", {"modality": "sound"}, "no modality 'sound'"),
        ("a", {"top": 0}, "0 items"),
        ("a", {"top": 1.5}, "1.5 items"),
        ("a", {"top": None}, "None items"),
    ],
)
def test_bad_requests_are_refused(search, words, options, message):
    with pytest.raises(DemureError, match=message):
        search.nearest(words, **options)


def test_pictures_are_searched_by_the_text_tower(catalogue, tmp_path):
    """Oracle: the vector of a concept word less the mean of all, against the scaled pictures."""
    model = clip_folder(tmp_path / "model")
    copy = shutil.copytree(catalogue, tmp_path / "dataset")
    extract(copy, text=None, image=f"clip:{model}", device="cpu")
    dataset = Dataset.load(copy)
    (match, *_) = ContentSearch(dataset, ["image", "text"]).nearest(concept_words()[7]).matches["image"]
    words = encode_concepts(store.read_manifest(copy, "image").to_dict())
    search = ContentSearch(dataset, ["image"])
    search.nearest("anything")
    direction = words[7] - words.mean(0)
    cosine = search._unit["image"] @ (direction / np.linalg.norm(direction))
    assert match.item_id == str(dataset.item_ids[cosine.argmax()])
    shutil.rmtree(model)
    (note,) = ContentSearch(dataset, ["image"]).nearest("jeans").notes
    assert note.startswith("image: it cannot be searched, since its encoder is not available")
