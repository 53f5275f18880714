"""JSON in other shapes than an object per line, ids that no file can hold, and columns of one name."""

import json

import pytest

from demure.data.dataset import Dataset
from demure.errors import DataError
from demure.preparation.prepare import PrepareOptions, prepare
from demure.preparation.reading import jsonl

RECORDS = [{"user_id": "u", "item_id": f"i{k}", "timestamp": k} for k in range(4)]


def prepared(tmp_path, text, **options):
    file = tmp_path / "x.json"
    file.write_text(text, encoding="utf-8")
    return prepare(PrepareOptions(file, tmp_path / "ds", split="ratio", **options))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(RECORDS, indent=2),
        json.dumps(RECORDS),
        "\ufeff" + json.dumps(RECORDS, indent=1),
        "[" + ",\n".join(map(json.dumps, RECORDS)) + "]\n",
        "\n\n".join(json.dumps(record, indent=4) for record in RECORDS),
        "\n".join(map(json.dumps, RECORDS)),
    ],
)
def test_objects_in_an_array_or_over_several_lines_are_read(tmp_path, text):
    prepared(tmp_path, text)
    assert list(Dataset.load(tmp_path / "ds").items["item_id"]) == ["i0", "i1", "i2", "i3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (json.dumps({"data": RECORDS, "n": 4}, indent=1), r"x\.json: is one JSON object \(with the keys 'data', 'n'\)"),
        ("[\n{},\n3]", r"x\.json: is a JSON array whose element 2 is no object"),
        ('[\n{"user_id": 1},\n{"user_id"', r"x\.json:1: is not one JSON object"),
        ("[\n]", r"x\.json: has no rows"),
    ],
)
def test_other_json_is_refused_with_what_it_is(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        prepared(tmp_path, text)
    assert not (tmp_path / "ds").exists()


def test_a_large_array_is_refused_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonl, "MOST_SPREAD", 50)
    with pytest.raises(DataError, match=r"x\.json: is one JSON array, of more than 0 MB; .* jq -c '\.\[\]' FILE"):
        prepared(tmp_path, json.dumps(RECORDS, indent=2))


@pytest.mark.parametrize("key", ["user_id", "item_id"])
@pytest.mark.parametrize("indent", [None, 1])
def test_an_id_with_half_a_character_is_refused_with_its_row(tmp_path, key, indent):
    records = [*RECORDS, {**RECORDS[0], key: "x\ud800"}, {**RECORDS[0], key: "x\ud801"}]
    text = json.dumps(records, indent=1) if indent else "\n".join(map(json.dumps, records))
    with pytest.raises(DataError, match=rf'x\.json:5: {key} is "x\\ud800", which has half of a character'):
        prepared(tmp_path, text)


def test_half_a_character_elsewhere_and_a_whole_pair_are_read(tmp_path):
    record = {**RECORDS[0], "user_id": "\U0001f600", "note": "\ud800"}
    prepared(tmp_path, "\n".join(map(json.dumps, [record, *RECORDS])))
    assert len(Dataset.load(tmp_path / "ds").items) == 4


def test_columns_of_one_name_that_are_not_used_are_noted(tmp_path):
    rows = "".join(f"u,1,i{k},2,{k}\n" for k in range(4))
    report = prepared(tmp_path, "user_id,junk,item_id,junk,timestamp\n" + rows)
    assert any("2 columns are called 'junk'; none of them is used" in note for note in report.notes)
    assert list(Dataset.load(tmp_path / "ds").items["item_id"]) == ["i0", "i1", "i2", "i3"]


def test_columns_of_one_name_that_an_option_names_are_refused(tmp_path):
    with pytest.raises(DataError, match="has two columns 'sku'"):
        prepared(tmp_path, "user_id,sku,sku,timestamp\nu,1,a,2\n", columns={"item": "sku"})
