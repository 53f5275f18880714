"""Formats of well-known tools and data sets, recognised and read."""

import json

import numpy as np
import pytest

from demure.data.dataset import Dataset
from demure.errors import DemureError
from demure.preparation.prepare import PrepareOptions, prepare


def run(folder, name, content, items=None, **options):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    items_path = None
    if items is not None:
        items_path = folder / items[0]
        items_path.write_bytes(items[1] if isinstance(items[1], bytes) else items[1].encode())
    report = prepare(PrepareOptions(folder / name, folder / "out", items=items_path, **options))
    return Dataset.load(folder / "out"), report


MMREC = "userID\titemID\tx_label\n0\t2\t0\n0\t0\t1\n1\t2\t0\n1\t1\t2\n1\t7\t0\n"


def test_mmrec(tmp_path):
    for name in ("image", "audio"):
        np.save(tmp_path / f"{name}_feat.npy", np.ones((4, 3), np.float16))
    dataset, report = run(tmp_path, "micro.inter", MMREC, split="given")
    assert list(dataset.item_ids) == ["0", "1", "2", "3"]
    assert report.item_rows.tolist() == [0, 1, 2, 3]
    assert report.feature_files == {name: tmp_path / f"{name}_feat.npy" for name in ("audio", "image")}
    assert dataset.histories("train").items.tolist() == [2, 2]
    assert dataset.histories("valid").items.tolist() == [0]
    assert dataset.histories("test").items.tolist() == [1]
    assert not dataset.has_time
    assert dataset.histories("train").times is None
    assert report.problems["unknown item"].rows[0].row == 6


def test_mmrec_without_features_and_with_described_items(tmp_path):
    items = ("items.csv", "item_id,title\n2,Two\n0,Zero\n99,Far\n")
    dataset, report = run(tmp_path, "micro.inter", MMREC, items, split="given")
    assert dataset.n_items == 8
    assert dataset.items["title"].tolist() == ["Zero", None, "Two", *[None] * 5]
    assert report.problems["item without a row of features"].rows[0].value == "99"


def test_mmrec_features_must_agree(tmp_path):
    np.save(tmp_path / "image_feat.npy", np.ones((4, 3)))
    np.save(tmp_path / "text_feat.npy", np.ones((5, 3)))
    with pytest.raises(DemureError, match=r"text_feat\.npy: has 5 rows, the other features has 4"):
        run(tmp_path, "micro.inter", MMREC, split="given")


def test_mmrec_default_split_names_the_ones_that_work(tmp_path):
    with pytest.raises(DemureError, match="--split ratio, or --split given"):
        run(tmp_path, "micro.inter", MMREC)


def test_features_given_win_over_those_beside(tmp_path):
    np.save(tmp_path / "image_feat.npy", np.ones((4, 3)))
    np.save(tmp_path / "mine.npy", np.ones((6, 3)))
    dataset, report = run(tmp_path, "micro.inter", MMREC, split="given", features={"mine": tmp_path / "mine.npy"})
    assert dataset.n_items == 6
    assert list(report.feature_files) == ["mine"]


def test_features_need_the_items_they_are_rows_of(tmp_path):
    np.save(tmp_path / "f.npy", np.ones((3, 2)))
    content = "user_id,item_id,timestamp\nu,a,1\n"
    with pytest.raises(DemureError, match="give --items"):
        run(tmp_path, "x.csv", content, features={"image": tmp_path / "f.npy"})
    with pytest.raises(DemureError, match=r"f\.npy: has 3 rows, .*items\.csv has 2"):
        run(tmp_path, "x.csv", content, ("items.csv", "item_id\na\nb\n"), features={"image": tmp_path / "f.npy"})
    with pytest.raises(DemureError, match=r"no\.npy: no such file"):
        run(tmp_path, "x.csv", content, ("items.csv", "item_id\na\n"), features={"image": tmp_path / "no.npy"})
    (tmp_path / "bad.npy").write_bytes(b"no matrix")
    with pytest.raises(DemureError, match=r"bad\.npy: cannot be read"):
        run(tmp_path, "x.csv", content, ("items.csv", "item_id\na\n"), features={"image": tmp_path / "bad.npy"})


def test_recbole(tmp_path):
    inter = 'user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t"a\t5\t1.5\n1\tb\t3\t0.5\n'
    items = (
        'item_id:token\tmovie_title:token_seq\trelease_year:float\tclass:token_seq\n"a\tA "film"\t1999\tX Y\nb\tB\t\t\n'
    )
    dataset, report = run(tmp_path, "ml.inter", inter, ("ml.item", items))
    assert report.format == "recbole"
    assert dataset.items.to_dict("list") == {"item_id": ['"a', "b"], "title": ['A "film"', "B"],
                                             "class": ["X Y", None], "release_year": ["1999", None]}  # fmt: skip
    assert dataset.attribute_columns == ["release_year"]
    assert dataset.histories("train").times.tolist() == [0.5, 1.5]
    assert any("release_year" in note for note in report.notes)


@pytest.mark.parametrize(
    ("review", "meta", "parent"),
    [
        (
            {"reviewerID": "A", "asin": "0001", "overall": 5.0, "unixReviewTime": 1600000000, "reviewText": "x"},
            {"asin": "0001", "title": "Book", "description": ["One.", "Two."], "category": ["Books", "Old"],
             "imageURLHighRes": ["http://x/1.jpg"]},
            False,
        ),
        (
            {"user_id": "A", "asin": "child", "parent_asin": "0001", "rating": 5.0, "timestamp": 1600000000000},
            {"parent_asin": "0001", "title": "Book", "description": ["One.", "Two."], "categories": ["Books", "Old"],
             "images": [{"thumb": "http://x/t.jpg", "large": "http://x/1.jpg", "hi_res": None}], "price": 9.5},
            True,
        ),
    ],
)  # fmt: skip
def test_amazon(tmp_path, review, meta, parent):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "0001.jpg").write_bytes(b"")
    lines = [json.dumps(record) + "\n" for record in (review, meta)]
    dataset, report = run(tmp_path, "reviews.json", lines[0], ("meta.json", lines[1]), images=tmp_path / "pictures")
    assert report.format == "amazon"
    assert dataset.histories("train").times.tolist() == [1600000000.0]
    row = dataset.items.iloc[0].to_dict()
    assert row["item_id"] == "0001"
    assert (row["title"], row["description"], row["image"]) == ("Book", "One. Two.", "0001.jpg")
    assert row["categories"] == "Books|Old"
    assert "price" not in dataset.text_columns
    assert dataset.attribute_columns == (["price"] if "price" in meta else [])
    assert row.get("price") == ("9.5" if "price" in meta else None)
    if parent:
        assert any("'parent_asin' is taken as item_id (not 'asin')" in note for note in report.notes)


U_ITEM = "1|Café (1995)|01-Jan-1995||http://x|" + "|".join(["0", "1", "0", "0", "0", "1", *["0"] * 13]) + "\n"


@pytest.mark.parametrize(
    ("name", "content", "items"),
    [
        ("u.data", "7\t1\t5\t100\n", ("u.item", U_ITEM.encode("latin-1"))),
        ("ratings.dat", "7::1::5::100\n", ("movies.dat", "1::Café (1995)::Action|Comedy\n".encode("latin-1"))),
        ("ratings.csv", "userId,movieId,rating,timestamp\n7,1,5,100\n",
         ("movies.csv", "movieId,title,genres\n1,Café (1995),Action|Comedy\n")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("format", ["auto", "movielens"])
def test_movielens(tmp_path, name, content, items, format):
    dataset, report = run(tmp_path, name, content, items, format=format)
    assert list(dataset.user_ids) == ["7"]
    expected = {"item_id": "1", "title": "Café (1995)", "genres": "Action|Comedy"}
    assert dataset.items.iloc[0].to_dict() == expected
    assert any("Latin-1" in note for note in report.notes) == (name != "ratings.csv")


@pytest.mark.parametrize(
    ("written", "unit"),
    [
        ("1600000000", None), ("1600000000000", "milliseconds"), ("1600000000000000", "microseconds"),
        ("1600000000000000000", "nanoseconds"), ("2020-09-13T12:26:40Z", None), ("2020-09-13 14:26:40+02:00", None),
        ("2020-09-13T12:26:40", None), ("1.6e9", None),
    ],
)  # fmt: skip
def test_timestamps(tmp_path, written, unit):
    dataset, report = run(tmp_path, "x.csv", f"user_id,item_id,timestamp\nu,a,{written}\n")
    assert dataset.histories("train").times.tolist() == [1.6e9]
    assert [note for note in report.notes if "taken as" in note] == (
        [f"x.csv: timestamps are taken as {unit}"] if unit else []
    )


def test_timestamps_that_parquet_knows(tmp_path):
    import pandas as pd

    stamps = pd.to_datetime(["2020-09-13T12:26:40", None, "2020-09-13T12:26:41.5"], format="ISO8601")
    frame = pd.DataFrame({"user_id": ["u"] * 3, "item_id": list("abc"), "timestamp": stamps})
    dataset, report = run(tmp_path, "x.parquet", frame.to_parquet())
    assert dataset.histories("train").times.tolist() == [1.6e9, 1.6e9 + 1.5]
    assert report.problems["bad timestamp"].count == 1


def test_a_column_of_no_timestamps_is_none(tmp_path):
    import pandas as pd

    frame = pd.DataFrame({"user_id": ["u"], "item_id": ["a"], "timestamp": pd.to_datetime([None])})
    dataset, report = run(tmp_path, "x.parquet", frame.to_parquet(), split="ratio")
    assert not dataset.has_time
    assert "x.parquet: column 'timestamp' is empty, so there are no timestamps" in report.notes


def test_lists_in_parquet_and_columns_without_text(tmp_path):
    import pandas as pd

    frame = pd.DataFrame(
        {"item_id": ["a", "b"], "genres": [["X", "Y"], None], "year": [1999, 2000], "mood": ["glad", "sad"],
         "Unnamed: 0": [0, 1], "link": ["http://a", "http://b"]}
    )  # fmt: skip
    content = "user_id,item_id,timestamp\nu,a,1\n"
    dataset, report = run(tmp_path, "x.csv", content, ("items.parquet", frame.to_parquet()))
    assert dataset.text_columns == ["genres", "mood"]
    assert dataset.items["genres"].tolist() == ["X|Y", None]
    assert dataset.attribute_columns == ["year"]
    assert dataset.items["year"].tolist() == ["1999", "2000"]
    assert "items.parquet: columns without text are left out: link" in report.notes
    assert any("columns without text are kept as attributes: year" in note for note in report.notes)


def test_images_that_are_not_there_are_reported(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    items = ("items.csv", "item_id,image\na,a.png\nb,gone.png\nc,\nd,http://x/d.png\n")
    dataset, report = run(tmp_path, "x.csv", "user_id,item_id,timestamp\nu,a,1\n", items)
    assert dataset.images_root == tmp_path.resolve()
    assert dataset.items["image"].tolist() == ["a.png", "gone.png", None, "http://x/d.png"]
    assert {kind: problem.rows[0].row for kind, problem in report.problems.items()} == {
        "image is a URL": 5, "image file not there": 3
    }  # fmt: skip


@pytest.mark.parametrize(("folder", "meant"), [("pictures/covers", "pictures"), (".", "pictures")])
def test_an_images_folder_one_level_off_is_named(tmp_path, folder, meant):
    (tmp_path / "pictures" / "covers").mkdir(parents=True)
    (tmp_path / "pictures" / "covers" / "a.png").write_bytes(b"")
    items = ("items.csv", "item_id,image\na,covers/a.png\n")
    content = "user_id,item_id,timestamp\nu,a,1\n"
    _, report = run(tmp_path, "x.csv", content, items, images=tmp_path / folder)
    assert any(note.endswith(f"give --images {tmp_path / meant}") for note in report.notes), report.notes


def test_images_by_item_id(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"")
    dataset, _ = run(tmp_path, "x.csv", "user_id,item_id,timestamp\nu,a,1\nu,b,1\n", images=tmp_path / "pictures")
    assert dataset.items["image"].tolist() == ["a.png", None]
