"""Columns that are named by their places: each file has its own, and a header is never a row."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.data_by_hand import csv_of, made, rows, write

from demure.errors import DataError
from demure.preparation.reading.columns import ITEM_ID_NAMES, NAMES
from demure_cli.app import main

LINES = [("u1", "i1", 1), ("u1", "i2", 2), ("u2", "i1", 3)]
BARE = "u1,i1,1\nu1,i2,2\nu2,i1,3\n"
PLACES = {"user": "1", "item": "2", "timestamp": "3"}


@pytest.mark.parametrize("items", ["title,item_id\nOne,i1\nTwo,i2\n", "item_id,title\ni1,One\ni2,Two\n"])
def test_places_of_the_interactions_are_not_places_of_the_items(tmp_path, items):
    interactions = write(tmp_path, "x.csv", BARE)
    dataset, _ = made(tmp_path, interactions, items=write(tmp_path, "items.csv", items), columns=PLACES)
    assert list(dataset.item_ids) == ["i1", "i2"]
    assert dataset.items["title"].tolist() == ["One", "Two"]


@pytest.mark.parametrize(
    "places", [{"items.item": "2", "items.title": "1"}, {"items.item_id": "2", "title": "1"}, {"title": "1"}]
)
def test_an_items_file_without_header_has_places_of_its_own(tmp_path, places):
    interactions, items = write(tmp_path, "x.csv", BARE), write(tmp_path, "items.csv", "One,i1\nTwo,i2\n")
    dataset, report = made(tmp_path, interactions, items=items, columns={**PLACES, **places})
    assert dataset.items.to_dict("list") == {"item_id": ["i1", "i2"], "title": ["One", "Two"]}
    assert "items.csv: column '2' is taken as item_id, as --columns says" in report.notes


@pytest.mark.parametrize("delimiter", [" ", ":", "^", "\x01", ";", "\t"])
def test_places_in_text_with_any_delimiter(tmp_path, delimiter):
    dataset, _ = made(tmp_path, write(tmp_path, "x.csv", BARE.replace(",", delimiter)), columns=PLACES)
    assert rows(dataset) == [line[:2] for line in LINES]


def test_only_the_items_have_no_header(tmp_path):
    interactions, items = write(tmp_path, "x.csv", csv_of(LINES)), write(tmp_path, "items.csv", "One,i1\nTwo,i2\n")
    dataset, _ = made(tmp_path, interactions, items=items, columns={"items.item": "2", "items.title": "1"})
    assert dataset.items["title"].tolist() == ["One", "Two"]
    with pytest.raises(DataError, match=r"items\.csv: has no column item_id .*.*--columns items\.item=1"):
        made(tmp_path, interactions, items=items, out="no")


def test_names_in_one_file_and_places_in_the_other(tmp_path):
    interactions, bare = write(tmp_path, "x.csv", csv_of(LINES, "who,thing,when")), write(tmp_path, "y.csv", BARE)
    items = write(tmp_path, "items.csv", "One,i1\nTwo,i2\n")
    names = {"user": "who", "item": "thing", "timestamp": "when", "items.item": "2", "title": "1"}
    expected, _ = made(tmp_path, interactions, items=items, columns=names)
    named_items = write(tmp_path, "named.csv", "about,key\nOne,i1\nTwo,i2\n")
    places = {**PLACES, "items.item": "key", "title": "about"}
    dataset, _ = made(tmp_path, bare, items=named_items, columns=places, out="b")
    assert dataset.identity == expected.identity


def test_names_of_the_items_apart_from_those_of_the_interactions(tmp_path):
    interactions = write(tmp_path, "x.csv", csv_of(LINES, "who,thing,when"))
    items = write(tmp_path, "items.csv", "thing,key,about\nno,i1,One\nno,i2,Two\n")
    columns = {"user": "who", "item": "thing", "timestamp": "when", "items.item": "key", "items.title": "about"}
    dataset, _ = made(tmp_path, interactions, items=items, columns=columns)
    assert dataset.items["title"].tolist() == ["One", "Two"]
    with pytest.raises(DataError, match=r"no column 'keys' .*check --columns items\.item_id=keys"):
        made(tmp_path, interactions, items=items, columns={**columns, "items.item": "keys"}, out="no")
    with pytest.raises(DataError, match="--columns: two columns for title of the items"):
        made(tmp_path, interactions, items=items, columns={**columns, "title": "key"}, out="no")


@pytest.mark.parametrize("header", ["Kunde,Artikel", "who,what"])
def test_words_above_ids_with_digits_are_a_header(tmp_path, header):
    places = {"user": "1", "item": "2"}
    columns = {"ids": ["10", "11", "10"], "words": ["x", "y", "x"], "isbn": ["034545104X", "0155061224", "7"]}
    for name, ids in columns.items():
        lines = [(f"u{k // 2}", item) for k, item in enumerate(ids)]
        path = write(tmp_path, f"{name}.csv", csv_of(lines, header))
        dataset, _ = made(tmp_path, path, columns=places, split="ratio", out=name)
        first = [] if name != "words" else [tuple(header.split(","))]  # such words may be ids
        assert sorted(rows(dataset)) == sorted([*first, *lines])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.permutations(["user_id", "item_id", "timestamp"]),
    st.one_of(st.none(), st.tuples(st.sampled_from(NAMES["user_id"]), st.sampled_from(ITEM_ID_NAMES[:-1]))),
    st.booleans(),
)
def test_a_header_is_never_a_row(tmp_path_factory, order, header, upper):
    folder = tmp_path_factory.mktemp("places")
    lines = [dict(zip(("user_id", "item_id", "timestamp"), line, strict=True)) for line in LINES]
    content = "".join(",".join(str(line[role]) for role in order) + "\n" for line in lines)
    if header is not None:
        names = {"user_id": header[0], "item_id": header[1], "timestamp": "when"}
        first = ",".join(names[role] for role in order)
        content = (first.upper() if upper else first) + "\n" + content
    places = {role: str(order.index(role) + 1) for role in order}
    dataset, report = made(folder, write(folder, "x.csv", content), columns=places)
    assert rows(dataset) == [line[:2] for line in LINES]
    assert report.steps[0].rows == 3


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            "user=1,item=2,timestamp=4",
            "x.csv: has no column '4' (there are: '1', '2', '3'); check --columns timestamp=4",
        ),
        ("user=0,item=2", "x.csv: has no column '0'"),
        ("user=1,item=two", "x.csv: has no column 'two'"),
        ("user=1,things.item=2", "--columns: unknown role 'things.item'"),
        ("items.user=1", "--columns: unknown role 'items.user'"),
    ],
)
def test_places_that_cannot_be_are_refused(tmp_path, capsys, columns, message):
    path = write(tmp_path, "x.csv", BARE)
    assert (
        main(["-q", "prepare", "--interactions", str(path), "--out", str(tmp_path / "out"), "--columns", columns]) == 2
    )
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_places_in_json(tmp_path):
    path = write(tmp_path, "x.jsonl", json.dumps({"a": "u", "b": "i"}) + "\n")
    with pytest.raises(DataError, match="has no column '1'"):
        made(tmp_path, path, columns={"user": "1", "item": "2"}, split="ratio")
