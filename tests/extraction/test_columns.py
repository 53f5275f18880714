"""Chosen columns as modalities of their own: which are read, what is recorded, and what a training takes."""

import numpy as np
import pandas as pd
import pytest
from demure_extractors.attributes import Attributes

from demure.errors import DemureError, ExtractorError, FeatureError
from demure.extraction import encoding
from demure.extraction.columns import (
    attribute_columns,
    is_code,
    is_numeric,
    parse_number,
    select_columns,
    split_categories,
)
from demure.extraction.extract import ExtractOptions, extract_items
from demure.extraction.loading import parse_attribute_options
from demure.features import store
from demure.features.select import default_modalities
from demure.features.store import Features

N = 60


@pytest.fixture
def items():
    things, places = ("chair", "cup", "lamp"), ("garden", "kitchen", "office")
    return pd.DataFrame(
        {
            "item_id": [f"i{k}" for k in range(N)],
            "title": [f"{things[k % 3]} {'wood' if k % 2 else 'steel'} 19{60 + k % 5}" for k in range(N)],
            "description": [f"made for the {places[k // 3 % 3]} of {'men' if k % 5 else 'women'}" for k in range(N)],
            "brand": [("acme", "zeta", None)[k % 3] for k in range(N)],
            "price": [str(k + 0.5) if k else None for k in range(N)],
            "year": [str(1990 + k % 9) for k in range(N)],
            "product_code": [str(k // 2) for k in range(N)],
        },
        dtype=object,
    )


@pytest.fixture
def extract(tmp_path, items):
    items.to_parquet(tmp_path / "items.parquet")

    def extract(table=items, **encoders):
        resume = encoders.pop("resume", True)
        return extract_items(tmp_path, table, ["title", "description"], None, encoders, ExtractOptions(resume=resume))

    extract.folder = tmp_path
    return extract


def test_columns_are_modalities_of_their_own(extract, items):
    report = extract(text=["title=tfidf[title]", "words=tfidf[description]", "tfidf"])
    assert [(made.name, made.columns) for made in report.modalities] == [
        ("title", ["title"]),
        ("words", ["description"]),
        ("text", ["title", "description"]),
    ]
    title = store.load(extract.folder, "title")
    assert title.provenance["encoder"] == "tfidf"
    assert title.provenance["input"]["columns"] == ["title"]
    similarity = title.vectors @ title.vectors.T
    same = items["title"].to_numpy()
    np.testing.assert_allclose(similarity[same[:, None] == same[None, :]], 1, atol=1e-5)
    assert abs(title.vectors - store.load(extract.folder, "words").vectors[:, : title.vectors.shape[1]]).max() > 0.1


def test_a_second_extraction_notices_other_columns_and_keeps_the_same(extract, items):
    extract(text="title=tfidf[title]")
    assert extract(text="title=tfidf[title]").modalities[0].kept == "up to date"
    other = items.assign(description=items["description"].str.upper() + " sale")
    assert extract(other, text="title=tfidf[title]").modalities[0].kept == "up to date"
    made = extract(text="title=tfidf[description, title]").modalities[0]
    assert (made.kept, made.columns) == (None, ["title", "description"])
    changed = items.assign(title=items["title"] + " new")
    assert extract(changed, text="title=tfidf[title]").modalities[0].kept is None


def test_naming_all_texts_is_naming_none(extract):
    extract(text="tfidf")
    assert extract(text="tfidf[description,title]").modalities[0].kept == "up to date"


def test_text_of_chosen_columns_is_kept_where_nothing_is_asked_for(extract):
    extract(text="tfidf[title]")
    kept = extract().modalities[0].kept
    assert kept == "kept, made by tfidf[title]; say --text tfidf to replace it"
    assert store.read_manifest(extract.folder, "text").columns == ["title"]


def test_a_number_can_be_read_as_text(extract):
    made = extract(text="brand=tfidf:keep-numbers[price,brand]").modalities[0]
    assert (made.columns, made.encoder) == (["brand", "price"], "tfidf:keep-numbers")


@pytest.mark.parametrize(
    ("encoders", "message"),
    [
        (
            {"text": "title=tfidf[titel]"},
            "--text title=tfidf[titel]: the items have no column 'titel'; did you mean 'title'? there are: title, "
            "description, brand, price, year, product_code",
        ),
        ({"text": "tfidf[title,image]"}, "--text tfidf[title,image]: the items have no column 'image'"),
        ({"attributes": "look=colour"}, "--attributes look=colour: the items have no column 'colour'"),
        ({"attributes": ["brand", "price"]}, "two lists of columns would both make 'attributes'"),
        ({"attributes": "text=brand"}, "'text' would name attributes"),
        ({"attributes": "x="}, "'x=' is not a list of columns"),
        ({"attributes": "x=tfidf[brand]"}, "is not a list of columns; write brand,colour or NAME=brand,colour"),
        ({"attributes": "x=brand", "text": "x=tfidf"}, "texts and attributes would both make 'x'"),
        ({"attributes": "none=brand"}, "'none' cannot name a modality"),
        ({"text": "attributes=tfidf"}, "'attributes' would name features of a text"),
    ],
)
def test_what_cannot_be_read_is_one_error_and_leaves_nothing(extract, encoders, message):
    with pytest.raises(DemureError) as error:
        extract(**encoders)
    assert message in str(error.value)
    assert store.names(extract.folder) == []


def test_attributes_of_the_items_and_what_is_missing(extract, items):
    report = extract(attributes=["all", "make=brand"])
    both, make = report.modalities
    assert (both.name, both.kind, both.columns) == ("attributes", "attributes", ["brand", "price"])
    assert (make.name, make.present, make.problems) == ("make", 40, {"no attribute given": 20})
    brand = store.load(extract.folder, "make").vectors
    np.testing.assert_array_equal(brand[:3], [[1, 0], [0, 1], [0, 0]])
    facts = store.read_manifest(extract.folder, "attributes").provenance
    assert facts["columns"]["brand"] == {"as": "categories", "values": 2}
    assert facts["columns"]["price"]["as"] == "number"
    assert extract(attributes="all").modalities[0].kept == "up to date"
    more = items.assign(brand=["zeta", *items["brand"][1:]])
    assert extract(more, attributes="all").modalities[0].kept is None


def test_interrupted_attributes_go_on_to_the_same_files(extract, monkeypatch):
    monkeypatch.setattr(encoding, "SHARD_SIZE", 8)
    monkeypatch.setattr(Attributes, "batch", 8)
    real, calls = Attributes.encode, []

    def encode(self, rows):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(rows)
        return real(self, rows)

    monkeypatch.setattr(Attributes, "encode", encode)
    with pytest.raises(KeyboardInterrupt, match="24 of 60 attributes"):
        extract(attributes="all")
    monkeypatch.setattr(Attributes, "encode", real)
    made = extract(attributes="all").modalities[0]
    assert (made.encoded, made.resumed) == (36, 24)
    resumed = (made.folder / "features.safetensors").read_bytes()
    made = extract(attributes="all", resume=False).modalities[0]
    assert made.encoded == 60
    assert (made.folder / "features.safetensors").read_bytes() == resumed


def test_items_that_share_all_their_attributes_make_no_value_rare(extract, items):
    twins = items.assign(brand=[f"brand {k // 2}" for k in range(N)])
    made = extract(twins, attributes="brand").modalities[0]
    assert (made.present, made.dim, made.notes) == (N, N // 2, [])


def test_columns_that_count_twice_are_reported(extract):
    report = extract(text=["title=tfidf[title]", "all=tfidf[title,brand]"], attributes="all")
    assert report.modalities[-1].notes == [
        "also read by all, so that they count twice: brand; "
        "--text 'all=tfidf[COLUMNS]' with other columns keeps them apart"
    ]


def test_what_the_encoder_left_out_is_reported(extract):
    made = extract(text="title=tfidf[title]").modalities[0]
    assert made.notes == [
        "left out as no content: 5 words that are years, ids or model numbers (1960, 1961, 1962, 1963, 1964); "
        "tfidf:keep-numbers keeps them"
    ]
    assert extract(text="title=tfidf:keep-numbers[title]").modalities[0].notes == []


def test_nothing_to_take_as_attributes(extract, items):
    with pytest.raises(ExtractorError, match="no column of the items holds attributes"):
        extract(items[["item_id", "title"]], attributes="all")
    with pytest.raises(ExtractorError, match=r"no item has usable attributes .60 times: no attribute given"):
        extract(items.assign(brand=None), attributes="brand")


def test_attributes_by_default_are_categories_and_amounts(items):
    assert attribute_columns(items) == ["brand", "price"]
    other = pd.DataFrame(
        {
            "item_id": list("abcd"),
            "genres": ["X|Y", "Y|Z", "X", "Z"],
            "mood": ["glad", "sad", "glad", "sad"],
            "slogan": ["one", "two", "three", "four"],
            "colour": ["red"] * 4,
            "average_rating": [1.0, 2.0, 3.0, 4.0],
            "weight": [1.0, 2.0, 3.0, float("nan")],
            "image": list("wxyz"),
        }
    )
    assert attribute_columns(other) == ["genres", "mood", "weight"]
    assert select_columns(["weight", "genres"], other, "--attributes") == ["genres", "weight"]


@pytest.mark.parametrize(
    ("cell", "read"),
    [
        ("12", 12.0), ("-1.5e3", -1500.0), ("$1,299.00", 1299.0), ("1.299,50 €", 1299.5), ("12,5", 12.5),
        ("1,299", 1299.0), ("15 %", 15.0), (".5", 0.5), ("", None), ("12 kg", None), ("1.2.3", None), ("n/a", None),
        ("12-13", None),
    ],
)  # fmt: skip
def test_numbers_as_people_write_them(cell, read):
    assert parse_number(cell) == read


def test_codes_are_no_amounts():
    assert all(map(is_code, ("colour_code", "productId", "EAN", "product_type_no", "article number")))
    assert not any(map(is_code, ("colour", "notes", "width", "modelling", "codec")))
    assert is_numeric("price", ["1", "2", "3"])
    assert not is_numeric("price", ["1", "2", "2"])
    assert not is_numeric("price", ["1", "2", "three"])
    assert not is_numeric("zip", ["012", "013", "014"])


def test_values_of_a_cell():
    assert split_categories("Red| blue |red||") == ["red", "blue"]


def test_lists_of_columns_have_names():
    assert parse_attribute_options("all") == {"attributes": "attributes"}
    assert parse_attribute_options(["brand,price", "look=colour"]) == {
        "attributes": "attributes[brand,price]",
        "look": "attributes[colour]",
    }


def put(folder, name, kind, *columns):
    pd.DataFrame({"item_id": list("abc")}).to_parquet(folder / "items.parquet")
    provenance = {"kind": kind, "input": {"columns": list(columns)}}
    store.save(folder, Features(name, np.eye(3), np.ones(3, bool), provenance))


def test_encodings_of_different_columns_are_all_taken(tmp_path):
    put(tmp_path, "title", "text", "title")
    put(tmp_path, "blurb", "text", "description", "subtitle")
    put(tmp_path, "look", "attributes", "colour")
    put(tmp_path, "make", "attributes", "brand")
    assert default_modalities(tmp_path) == (["blurb", "look", "make", "title"], [])


def test_of_encodings_that_share_a_column_one_is_taken(tmp_path):
    put(tmp_path, "text", "text", "title", "description")
    put(tmp_path, "title", "text", "title")
    put(tmp_path, "blurb", "text", "description")
    put(tmp_path, "city", "text", "city")
    assert default_modalities(tmp_path) == (["city", "text"], ["blurb", "title"])


def test_columns_may_be_shared_through_a_third_encoding(tmp_path):
    put(tmp_path, "a", "text", "title")
    put(tmp_path, "b", "text", "description")
    put(tmp_path, "c", "text", "title", "description")
    put(tmp_path, "d", "text", "city")
    with pytest.raises(FeatureError, match=r"encoded 3 times \(a, b, c\); choose: --set modalities=\[a, d\]"):
        default_modalities(tmp_path)


def test_imported_texts_may_be_of_any_column(tmp_path):
    put(tmp_path, "title", "text", "title")
    put(tmp_path, "blurb", "text", "description")
    store.save(tmp_path, Features("text", np.eye(3), np.ones(3, bool), {"encoder": "import"}))
    assert default_modalities(tmp_path) == (["text"], ["blurb", "title"])
