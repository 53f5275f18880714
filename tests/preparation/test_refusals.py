"""Unusable input: one line that names the value, the place and the remedy, and nothing left behind."""

import gzip

import pandas as pd
import pytest

from demure.errors import DataError, DemureError
from demure.preparation.prepare import PrepareOptions, prepare

GOOD = "user_id,item_id,timestamp\nu,a,1\nu,b,2\n"
ZIPPED = gzip.compress(GOOD.encode() * 50, mtime=0)
PARQUET = pd.DataFrame({"user_id": ["u"], "item_id": ["a"]}).to_parquet()


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"", {}, "x.csv: is empty"),
        (b" \n\n", {}, "x.csv: is empty"),
        (b"\xef\xbb\xbf", {}, "x.csv: is empty"),
        (b"user_id,item_id\n", {"split": "ratio"}, "x.csv: has no rows, only a header"),
        (b"who,what\nu,a\n", {}, "x.csv: has no column user_id (there are: 'who', 'what'); name one"),
        (b"user_id,what\nu,a\n", {}, "x.csv: has no column item_id"),
        (b"1,2,3\n4,5,6\n", {}, "has no column user_id (there are: '1', '2', '3')"),
        (b"user_id,item_id,user_id\nu,a,b\n", {}, "x.csv: has two columns 'user_id'"),
        (b"user_id,item_id\nu,a\nu,b,c\n", {}, "x.csv:3: has 3 columns, not 2 as the first: 'u,b,c'"),
        (b'user_id,item_id\nu,"a\nu,b\n', {"split": "ratio"}, "x.csv:2: a quotation mark does not close"),
        (b'user_id,item_id\nu,"a\nb"\n', {"split": "ratio"}, "x.csv:2: column 'item_id' has a line break in 'a"),
        (b"user_id,item_id\nu,a\n", {}, "has no timestamps, which --split leave-one-out needs; use --split ratio"),
        (b"user_id,item_id\nu,a\n", {"split": "time"}, "which --split time needs; use --split ratio"),
        (b"user_id,item_id,timestamp\nu,a,\n", {}, "has no timestamps"),
        (b"user_id,item_id,timestamp\nu,a,soon\n", {}, "no timestamp in column 'timestamp' can be read (the first is"),
        (b"user_id,item_id\nu,a\n", {"split": "given"}, "has no column split, which --split given needs"),
        (b"user_id,item_id,split\nu,a,test\n", {"split": "given"}, "--split given: nothing is left to train on"),
        (b"user_id,item_id,split\nu,a,often\n", {"split": "given"}, "no usable row is left (unknown split: 1)"),
        (b"user_id,item_id,timestamp\n,a,1\nu,,1\n", {}, "no usable row is left (empty user id: 1, empty item id: 1)"),
        (b"user_id,item_id,timestamp\nu,a,1\nu,b,1\n", {"split": "time"}, "--split time: nothing is left to train on"),
        (GOOD.encode(), {"k_core": 5}, "--k-core: no interaction is in the 5-core; use less than 5"),
        (GOOD.encode(), {"k_core": -1}, "--k-core: must be 0 or more, got -1"),
        (GOOD.encode(), {"split": "leave-one"}, "--split: unknown value 'leave-one'; did you mean leave-one-out?"),
        (GOOD.encode(), {"format": "cvs"}, "--format: unknown value 'cvs'; did you mean csv?"),
        (GOOD.encode(), {"format": "parquet"}, "x.csv: is not a Parquet file"),
        (GOOD.encode(), {"format": "jsonl"}, "x.csv:1: is not one JSON object"),
        (ZIPPED[:-20], {}, "x.csv: cannot be unzipped"),
        (ZIPPED[:15], {}, "x.csv: cannot be unzipped"),
        (b"\x1f\x8bnonsense", {}, "x.csv: cannot be unzipped"),
        (PARQUET[:-9], {}, "x.csv: cannot be read as Parquet"),
        (PARQUET, {"format": "csv"}, "x.csv: is not a text file"),
        (b"PK\x03\x04\0\0\0", {}, "x.csv: is not a text file"),
        (b'{"user_id": 1}\n{"user_id"\n', {}, "x.csv:2: is not one JSON object"),
        (b'[["u", 1]]', {}, "x.csv:1: holds an array; write one object per line"),
        (b'{"user_id": "u"}\n', {}, "x.csv: has no column item_id"),
        (b"userID\titemID\tx_label\n0\ta\t0\n", {"split": "given"}, "item ids are not row numbers"),
    ],
)
def test_bad_interactions(tmp_path, content, options, message):
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(DataError) as caught:
        prepare(PrepareOptions(tmp_path / "x.csv", tmp_path / "out", **options))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.remedy
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "items.csv: is empty"),
        (b"item_id,title\n", "items.csv: has no rows"),
        (b"name\nx\n", "items.csv: has no column item_id (there are: 'name')"),
        (b'item_id\n""\n', "column 'item_id' is empty"),
        (b"item_id\n007\n", "no item of the interactions is in items.csv (for example 'a'; there: '007')"),
    ],
)
def test_bad_items(tmp_path, content, message):
    (tmp_path / "x.csv").write_text(GOOD)
    (tmp_path / "items.csv").write_bytes(content)
    with pytest.raises(DataError) as caught:
        prepare(PrepareOptions(tmp_path / "x.csv", tmp_path / "out", items=tmp_path / "items.csv"))
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_places_that_are_none(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        prepare(PrepareOptions(tmp_path / "nowhere.csv", tmp_path / "out"))
    with pytest.raises(DataError, match="is a folder, not a file"):
        prepare(PrepareOptions(tmp_path, tmp_path / "a" / "out"))
    (tmp_path / "x.csv").write_text(GOOD)
    with pytest.raises(DataError, match="nowhere: no such folder; check --images"):
        prepare(PrepareOptions(tmp_path / "x.csv", tmp_path / "out", images=tmp_path / "nowhere"))
    (tmp_path / "file").write_text("")
    with pytest.raises(DemureError, match="already exists"):
        prepare(PrepareOptions(tmp_path / "x.csv", tmp_path / "file"))
    with pytest.raises(DemureError, match="cannot write"):
        prepare(PrepareOptions(tmp_path / "x.csv", tmp_path / "file" / "out"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "x.csv"]


def test_inputs_inside_the_folder_to_replace(tmp_path):
    (tmp_path / "x.csv").write_text(GOOD)
    prepare(PrepareOptions(tmp_path / "x.csv", tmp_path / "out"))
    (tmp_path / "out" / "x.csv").write_text(GOOD)
    with pytest.raises(DataError, match="--out would replace"):
        prepare(PrepareOptions(tmp_path / "out" / "x.csv", tmp_path / "out", overwrite=True))
