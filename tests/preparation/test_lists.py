"""Lists where one id belongs: unrolled where the meaning is plain, else refused with the row."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.data_by_hand import csv_of, made, rows, write

from demure.errors import DataError
from demure.preparation.problems import Findings
from demure.preparation.reading.columns import ColumnSelection
from demure.preparation.reading.formats import read_raw

ID = st.text(alphabet="ab1'\", \\é", min_size=1, max_size=4).filter(lambda text: text.strip() == text)
HISTORIES = st.lists(st.tuples(ID, st.lists(st.tuples(ID, st.integers(0, 9)), max_size=4)), min_size=1, max_size=5)
quickly = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def files(folder, frame):
    """Write a frame whose cells are lists as JSON Lines, Parquet, and CSV with lists as Python and JSON print them."""
    frame.to_parquet(folder / "x.parquet")
    write(folder, "x.jsonl", frame.to_dict("records"))
    frame.to_csv(folder / "python.csv", index=False)
    as_json = frame.assign(**{name: frame[name].map(json.dumps) for name in ("item_id", "timestamp")})
    as_json.to_csv(folder / "json.csv", index=False)
    return [folder / name for name in ("x.parquet", "x.jsonl", "python.csv", "json.csv")]


@quickly
@given(HISTORIES)
def test_every_element_of_a_list_becomes_a_row(tmp_path_factory, histories):
    folder = tmp_path_factory.mktemp("lists")
    expected = [(user, item, str(time)) for user, history in histories for item, time in history]
    numbers = [k for k, (_, history) in enumerate(histories) for _ in history]
    frame = pd.DataFrame(
        {
            "user_id": [user for user, _ in histories],
            "item_id": [[item for item, _ in history] for _, history in histories],
            "timestamp": [[time for _, time in history] for _, history in histories],
        }
    )
    for path in files(folder, frame) if expected else []:
        findings = Findings()
        raw, _ = read_raw(path, "auto", findings, ColumnSelection())
        columns = [raw.table[name].to_pylist() for name in ("user_id", "item_id", "timestamp")]
        assert list(zip(*columns, strict=True)) == expected, path.name
        first = 2 if path.suffix == ".csv" else 1
        assert raw.row_numbers.of(np.arange(len(expected))).tolist() == [first + k for k in numbers]
        empty = sum(not history for _, history in histories)
        assert (findings.problems["empty list of ids"].count if empty else 0) == empty


CELLS = {
    # name: (cells of item_id of a CSV, items of each row)
    "JSON": (['["a", "b"]', '["c"]'], ["a", "b", "c"]),
    "numbers": (["[1, 2]", "[007]"], ["1", "2", "007"]),
    "Python": (["['a', 'it''s']".replace("''", "\\'"), "[]"], ["a", "it's"]),
    "a tuple": (["('a', 'b')", "('c',)"], ["a", "b", "c"]),
    "NumPy": (["['a' 'b']", "[ 1  2\n 3]"], ["a", "b", "1", "2", "3"]),
    "Java": (["[B00A, B00B]", "[x y]"], ["B00A", "B00B", "x y"]),
    "ids in brackets": (["[deleted]", "[a]"], ["[deleted]", "[a]"]),
    "a number in brackets among ids": (["[7]", "a"], ["[7]", "a"]),
    "braces that are no object": (["{a}", "(b)"], ["{a}", "(b)"]),
}


@pytest.mark.parametrize("name", CELLS)
def test_lists_in_text(tmp_path, name):
    cells, items = CELLS[name]
    frame = pd.DataFrame({"user_id": "u", "item_id": cells})
    frame.to_csv(tmp_path / "x.csv", index=False)
    dataset, report = made(tmp_path, tmp_path / "x.csv", split="ratio")
    assert rows(dataset) == [("u", item) for item in items]
    assert any("lists in" in note for note in report.notes) == (items != cells)


REFUSED = {
    # name: (name of the file, content, part of the message)
    "an object": ("x.jsonl", [{"user_id": "u", "item_id": "a"}, {"user_id": "u", "item_id": {"id": 1}}],
                  "x.jsonl:2: column 'item_id' holds an object, not one id"),
    "objects in a list": ("x.jsonl", [{"user_id": "u", "item_id": [{"id": 1}]}], "'item_id' holds an object"),
    "a list in a list": ("x.jsonl", [{"user_id": "u", "item_id": [["a"]]}], ":1: column 'item_id' holds a list in a"),
    "a user that is an object": ("x.jsonl", [{"user_id": {"name": "u"}, "item_id": "a"}], "'user_id' holds an object"),
    "fewer times than items": ("x.jsonl", [{"user_id": "u", "item_id": ["a", "b"], "timestamp": [1]}],
                               "x.jsonl:1: the list in column 'timestamp' is not as long as that in 'item_id'"),
    "fewer ratings than items": ("x.jsonl", [{"user_id": "u", "item_id": ["a", "b"], "rating": [1, 2, 3]}], "'rating'"),
    "times for one item": ("x.jsonl", [{"user_id": "u", "item_id": "a", "timestamp": [1, 2]}], "no timestamp"),
    "lists of users and of items": ("x.jsonl", [{"user_id": ["u", "v"], "item_id": ["a", "b", "c"]}], "as long as"),
    "only empty lists": ("x.jsonl", [{"user_id": "u", "item_id": []}], "has no ids, only empty lists"),
    "an object in CSV": ("x.csv", 'user_id,item_id\nu,"{""id"": 1}"\n', "x.csv:2: column 'item_id' holds an object"),
    "a dict in CSV": ("x.csv", "user_id,item_id\nu,a\nu,{'id': 1}\n", "x.csv:3: column 'item_id' holds an object"),
    "a list among ids": ("x.csv", 'user_id,item_id\nu,a\nu,"[1, 2]"\n', ":3: column 'item_id' holds a list where"),
    "a list that NumPy cut short": ("x.csv", "user_id,item_id\nu,[1 2 3 ... 8 9]\n", "'item_id' holds a list that"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_plain_is_refused_with_its_row(tmp_path, name):
    file, content, message = REFUSED[name]
    with pytest.raises(DataError) as caught:
        made(tmp_path, write(tmp_path, file, content), split="ratio")
    assert message in str(caught.value)


def test_columnar_parquet(tmp_path):
    frame = pd.DataFrame({"user_id": [["u", "u", "v"]], "item_id": [[1.0, 2.0, 3.0]], "rating": [[5, 4, 3]]})
    frame.to_parquet(tmp_path / "x.parquet")
    dataset, _ = made(tmp_path, tmp_path / "x.parquet", split="ratio")
    assert rows(dataset) == [("u", "1"), ("u", "2"), ("v", "3")]
    pd.DataFrame({"user_id": ["u"], "item_id": [{"a": 1}]}).to_parquet(tmp_path / "y.parquet")
    with pytest.raises(DataError, match=r"y\.parquet:1: column 'item_id' holds an object"):
        made(tmp_path, tmp_path / "y.parquet", split="ratio", out="no")


def test_wrapped_values_of_mongodb_are_values(tmp_path):
    lines = [
        {"user_id": {"$oid": "5f1"}, "item_id": {"$oid": "a"}, "timestamp": {"$date": {"$numberLong": "1600000000000"}}}
    ]
    dataset, _ = made(tmp_path, write(tmp_path, "x.jsonl", lines))
    assert rows(dataset) == [("5f1", "a")]
    assert dataset.histories("train").times.tolist() == [1.6e9]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("items.jsonl", [{"item_id": "a"}, {"item_id": ["b", "c"]}]),
        ("items.csv", 'item_id,title\na,A\n"[""b"", ""c""]",B\n'),
        ("items.csv", "item_id,title\na,A\n{'id': 1},B\n"),
        ("items.parquet", [["b"], ["c"]]),
    ],
)
def test_an_item_has_one_id(tmp_path, name, content):
    items = tmp_path / name
    if name.endswith("parquet"):
        pd.DataFrame({"item_id": content}).to_parquet(items)
    else:
        write(tmp_path, name, content)
    row = 1 if name.endswith("parquet") else 2 if name.endswith("jsonl") else 3
    with pytest.raises(DataError, match=rf"items\.\w+:{row}: column 'item_id' holds"):
        made(tmp_path, write(tmp_path, "x.csv", csv_of([("u", "a", 1)])), items=items)
