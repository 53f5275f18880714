"""Several encoders of one kind of input, under names; which of them a training takes."""

import numpy as np
import pandas as pd
import pytest

from demure.errors import DemureError, ExtractorError, FeatureError
from demure.extraction.extract import extract_items
from demure.extraction.loading import parse_encoder_options
from demure.features import store
from demure.features.select import default_modalities
from demure.features.store import Features


def test_a_plain_encoder_makes_the_modality_of_its_kind():
    assert parse_encoder_options("text", "tfidf") == {"text": "tfidf"}
    assert parse_encoder_options("image", ["clip:a/b", "dino=vision:c"]) == {"image": "clip:a/b", "dino": "vision:c"}


def test_an_equals_sign_in_a_path_is_no_name():
    assert parse_encoder_options("text", "sentence:/a=b/c") == {"text": "sentence:/a=b/c"}
    assert parse_encoder_options("text", "x=sentence:/a=b/c") == {"x": "sentence:/a=b/c"}


@pytest.mark.parametrize(
    ("encoders", "message"),
    [
        (["clip:a", "sentence:b"], "both make 'text': clip:a and sentence:b; name one of them: --text text-sentence="),
        (["x=clip:a", "x=clip:b"], "both make 'x'"),
        (["image=clip:a"], "'image' would name features of a text"),
        (["none=clip:a"], "'none' cannot name a modality"),
    ],
)
def test_names_that_do_not_go_together(encoders, message):
    with pytest.raises(DemureError) as error:
        parse_encoder_options("text", encoders)
    assert message in str(error.value)


@pytest.fixture
def folder(tmp_path):
    pd.DataFrame({"item_id": list("abc")}).to_parquet(tmp_path / "items.parquet")
    return tmp_path


def put(folder, name, **provenance):
    store.save(folder, Features(name, np.eye(3), np.ones(3, bool), provenance))


def test_two_encodings_of_one_text_are_not_two_reasons(folder):
    put(folder, "text", kind="text")
    put(folder, "minilm", kind="text")
    put(folder, "image", kind="image")
    put(folder, "sound", encoder="import")
    assert default_modalities(folder) == (["image", "sound", "text"], ["minilm"])


def test_imported_features_called_text_are_of_the_text(folder):
    put(folder, "text", encoder="import")
    put(folder, "minilm", kind="text")
    assert default_modalities(folder) == (["text"], ["minilm"])


def test_where_the_names_do_not_decide_the_user_must(folder):
    put(folder, "a", kind="text")
    put(folder, "b", kind="text")
    put(folder, "image", kind="image")
    with pytest.raises(FeatureError, match=r"encoded 2 times \(a, b\); choose: --set modalities=\[a, image\]"):
        default_modalities(folder)


def test_one_under_another_name_is_taken(folder):
    put(folder, "a", kind="text")
    assert default_modalities(folder) == (["a"], [])


def test_both_are_extracted_and_record_their_kind(tmp_path):
    items = pd.DataFrame({"item_id": [f"i{k}" for k in range(30)], "title": [f"red apple {k} tree" for k in range(30)]})
    items.to_parquet(tmp_path / "items.parquet")
    report = extract_items(tmp_path, items, ["title"], None, {"text": ["tfidf", "again=tfidf"]})
    assert [(made.name, made.kind, made.encoder) for made in report.modalities] == [
        ("text", "text", "tfidf"),
        ("again", "text", "tfidf"),
    ]
    np.testing.assert_array_equal(store.load(tmp_path, "text").vectors, store.load(tmp_path, "again").vectors)
    with pytest.raises(ExtractorError, match="both make 'text'"):
        extract_items(tmp_path, items, ["title"], None, {"text": ["tfidf", "tfidf"]})
