"""Small files in the formats of public data sets and tools."""

# ruff: noqa: E501 - the rows of these data sets are long

import bz2
import gzip
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.data_by_hand import csv_of, made, rows, write

from demure.errors import DataError
from demure.preparation.problems import Findings
from demure.preparation.reading.columns import ColumnSelection
from demure.preparation.reading.jsonl import read_jsonl

THREE = [("u1", "i1", 1), ("u1", "i2", 2), ("u2", "i1", 3)]


def test_amazon_2014_metadata_are_python_dicts(tmp_path):
    write(tmp_path, "meta_Baby.json", "{'asin': '0001', 'title': \"Baby's\", 'price': 3.5, 'imUrl': 'http://x/1._SX.jpg', "
          "'related': {'also_bought': ['0002']}, 'salesRank': {'Baby': 7}, 'brand': 'B', 'categories': [['Baby', 'Toys']]}\n"
          "{'asin': '0002', 'description': 'plain', 'categories': [['Baby']]}\n")  # fmt: skip
    reviews = write(tmp_path, "reviews_Baby_5.json", [
        {"reviewerID": "A1", "asin": "0001", "reviewerName": "x", "helpful": [0, 0], "reviewText": "t", "overall": 5.0,
         "summary": "s", "unixReviewTime": 1373241600, "reviewTime": "07 8, 2013"},
        {"reviewerID": "A1", "asin": "0002", "overall": 2.0, "unixReviewTime": 1373241601},
    ])  # fmt: skip
    dataset, report = made(tmp_path, reviews, items=tmp_path / "meta_Baby.json", min_rating=3)
    assert report.format == "amazon"
    assert rows(dataset) == [("A1", "0001")]
    first = dataset.items.iloc[0].to_dict()
    assert first == {"item_id": "0001", "title": "Baby's", "brand": "B", "categories": "Baby|Toys",
                     "description": None, "image": "http://x/1._SX.jpg", "price": "3.5"}  # fmt: skip
    assert dataset.attribute_columns == ["price"]
    assert any("related, salesRank left out" in note for note in report.notes)


PYTHON_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9**20) | st.text(alphabet="a'\"\\é\n{u", max_size=5),
    lambda values: (
        st.lists(values, max_size=2) | st.dictionaries(st.text(alphabet="ab'", max_size=2), values, max_size=2)
    ),
    max_leaves=4,
)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from("abc"), PYTHON_VALUE, min_size=1), min_size=1, max_size=4), st.booleans()
)
def test_dicts_as_python_prints_them_are_the_same_as_json(records, python2):
    def printed(value):
        if isinstance(value, dict):
            return "{" + ", ".join(f"{printed(k)}: {printed(v)}" for k, v in value.items()) + "}"
        if isinstance(value, list):
            return f"[{', '.join(map(printed, value))}]"
        return f"u{value!r}" if python2 and isinstance(value, str) else repr(value)

    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), "x.json", "".join(printed(record) + "\n" for record in records))
        expected = write(Path(folder), "y.json", records)
        tables = [read_jsonl(file, Findings(), ColumnSelection(items=True)).table for file in (path, expected)]
    assert tables[0].to_pylist() == tables[1].to_pylist()


def test_steam_reviews_are_python_2_dicts(tmp_path):
    lines = ["{u'username': u'n0', u'product_id': u'700', u'text': u\"it's \\d\", u'early': False, u'date': u'2017-12-10'}",
             "{u'username': u'n1', u'product_id': 701, \"text\": 'x', u'early': None, u'date': u'2017-12-11'}"]  # fmt: skip
    dataset, report = made(tmp_path, write(tmp_path, "steam.json", "\n".join(lines)))
    assert rows(dataset) == [("n0", "700"), ("n1", "701")]
    assert report.format == "jsonl"


@pytest.mark.parametrize("delimiter", [" ", "\t", ",", ";", "|"])
@pytest.mark.parametrize(
    "header", ["user_id:token{}item_id:token{}timestamp:float", "user_id:token{}item_id:token{}timestamp:int"]
)
def test_atomic_files_with_any_delimiter(tmp_path, delimiter, header):
    lines = [header.replace("{}", delimiter), *(delimiter.join(map(str, line)) for line in THREE)]
    dataset, report = made(tmp_path, write(tmp_path, "toy.inter", "\n".join(lines)))
    assert rows(dataset) == [line[:2] for line in THREE]
    assert report.format == "recbole"


@pytest.mark.parametrize(
    ("line", "order"),
    [("A3AF8FFZAZYNE5,0000000078,5.0,1092182400", "2014"), ("0001713353,A1C6M8LCIX4M6M,5.0,1123804800", "2018")],
)
def test_amazon_ratings_without_header(tmp_path, line, order):
    dataset, report = made(tmp_path, write(tmp_path, "ratings_Books.csv", line + "\n"))
    assert report.format == "amazon"
    assert dataset.user_ids[0].startswith("A"), order
    assert not dataset.item_ids[0].startswith("A")


def test_amazon_2023_with_images_and_categories(tmp_path):
    reviews = write(tmp_path, "All_Beauty.jsonl", [
        {"rating": 5.0, "title": "nice", "text": "good", "images": [], "asin": "B00C", "parent_asin": "B00P",
         "user_id": "AGKH", "timestamp": 1588687728923, "helpful_vote": 0, "verified_purchase": True},
    ])  # fmt: skip
    meta = {"main_category": "All Beauty", "title": "Balm", "average_rating": 4.8, "rating_number": 10, "features": ["a", "b"],
            "description": ["One.", "Two."], "price": 6.9, "store": "Howard", "categories": ["Beauty", "Lips"],
            "images": {"hi_res": [None, "http://x/2.jpg"], "thumb": ["http://x/t.jpg"], "large": ["http://x/l.jpg"]},
            "videos": {"title": [], "url": []}, "details": {"Brand": "H"}, "parent_asin": "B00P", "bought_together": None}  # fmt: skip
    dataset, report = made(tmp_path, reviews, items=write(tmp_path, "meta_All_Beauty.jsonl", [meta]))
    item = dataset.items.iloc[0].to_dict()
    assert (item["title"], item["description"], item["categories"], item["image"]) == (
        "Balm", "One. Two.", "Beauty|Lips", "http://x/2.jpg"
    )  # fmt: skip
    assert not {"average_rating", "rating_number", "bought_together"} & set(item)
    assert dataset.attribute_columns == ["price"]
    assert dataset.histories("train").times.tolist() == [1588687728.923]
    assert report.format == "amazon"


def test_hm(tmp_path):
    transactions = write(tmp_path, "transactions_train.csv", "t_dat,customer_id,article_id,price,sales_channel_id\n"
                         "2018-09-20,000058a1,0663713001,0.05,2\n2018-09-21,000058a1,0541518023,0.03,2\n")  # fmt: skip
    articles = write(tmp_path, "articles.csv", "article_id,product_code,prod_name,product_type_name,detail_desc\n"
                     '0663713001,0663713,Atlanta,Bra,"Push-up, lace"\n0541518023,0541518,Rae,Bra,\n')  # fmt: skip
    write(tmp_path, "images/066/0663713001.jpg", b"")
    dataset, report = made(tmp_path, transactions, items=articles, images=tmp_path / "images")
    assert report.format == "hm"
    assert rows(dataset) == [("000058a1", "0663713001"), ("000058a1", "0541518023")]
    assert dataset.items.to_dict("list") == {
        "item_id": ["0663713001", "0541518023"], "title": ["Atlanta", "Rae"], "product_type_name": ["Bra", "Bra"],
        "description": ["Push-up, lace", None], "image": ["066/0663713001.jpg", None],
        "product_code": ["0663713", "0541518"],
    }  # fmt: skip


def test_yelp(tmp_path):
    reviews = write(tmp_path, "yelp_academic_dataset_review.json", [
        {"review_id": "r1", "user_id": "u", "business_id": "b1", "stars": 3.0, "useful": 0, "text": "a\nb", "date": "2018-07-07 22:09:11"},
        {"review_id": "r2", "user_id": "u", "business_id": "b2", "stars": 5.0, "text": "", "date": "2019-01-01 00:00:00"},
    ])  # fmt: skip
    shops = write(tmp_path, "yelp_academic_dataset_business.json", [
        {"business_id": "b2", "name": "Inn", "city": "Tucson", "stars": 4.5, "review_count": 7, "categories": "Bars, Food"},
        {"business_id": "b1", "name": "Cafe", "city": "Reno", "stars": 4.0, "review_count": 9, "categories": None},
    ])  # fmt: skip
    write(tmp_path, "photos.json", [
        {"photo_id": "p0", "business_id": "b1", "caption": "", "label": "food"},
        {"photo_id": "p1", "business_id": "b1", "caption": "", "label": "inside"},
        {"photo_id": "p2", "business_id": "b2", "caption": "", "label": "inside"},
    ])  # fmt: skip
    for name in ("p1", "p2"):
        write(tmp_path, f"photos/{name}.jpg", b"")
    dataset, report = made(tmp_path, reviews, items=shops, images=tmp_path / "photos")
    assert report.format == "yelp"
    assert rows(dataset) == [("u", "b1"), ("u", "b2")]
    assert dataset.items["image"].tolist() == ["p2.jpg", "p1.jpg"]
    assert dataset.text_columns == ["title", "city", "categories"]
    assert any("review_count left out" in note for note in report.notes)


def test_microlens(tmp_path):
    pairs = write(
        tmp_path, "MicroLens-50k_pairs.csv", "user,item,timestamp\n36121,9580,1583378629552\n36121,4,1583378629551\n"
    )
    titles = write(tmp_path, "MicroLens-50k_titles.csv", 'item,title\n9580,"Cats, dogs"\n4,Rain\n')
    write(tmp_path, "MicroLens-50k_covers/9580.jpg", b"")
    dataset, report = made(tmp_path, pairs, items=titles, images=tmp_path / "MicroLens-50k_covers")
    assert report.format == "microlens"
    assert rows(dataset) == [("36121", "4"), ("36121", "9580")]
    assert dataset.items["image"].tolist() == ["9580.jpg", None]
    lists, report = made(tmp_path, write(tmp_path, "MicroLens-50k_pairs.tsv", "7\t3 1 2\n8\t1\n"), out="lists")
    assert report.format == "microlens"
    assert rows(lists) == [("7", "3"), ("7", "1"), ("7", "2"), ("8", "1")]


@pytest.mark.parametrize("delimiter", ["\t", ",", " ", "::"])
def test_cornac_tuples(tmp_path, delimiter):
    lines = [("u1", "a b" if delimiter == "\t" else "a", 4, 20), ("u1", "c", 5.0, 10)]
    content = "\n".join(delimiter.join(map(str, line)) for line in lines)
    dataset, report = made(tmp_path, write(tmp_path, "uirt.txt", content), format="cornac")
    assert rows(dataset) == [("u1", "c"), ("u1", lines[0][1])]
    assert report.counts["interactions"] == 2
    with pytest.raises(DataError, match="its first line is"):
        made(tmp_path, write(tmp_path, "u.txt", "user\titem\trating\nu\ti\t1\n"), format="cornac", out="no")


def test_movielens_10m_and_32m(tmp_path):
    dataset, report = made(
        tmp_path, write(tmp_path, "ratings.dat", "1::122::5::838985046\n1::185::3.5::838983525\n"), min_rating=4
    )
    assert (report.format, rows(dataset)) == ("movielens", [("1", "122")])
    movies = write(tmp_path, "movies.csv", 'movieId,title,genres\n17,"American President, The (1995)",Comedy|Drama\n')
    ratings = write(tmp_path, "ratings.csv", "userId,movieId,rating,timestamp\n1,17,4.0,944249077\n")
    dataset, _ = made(tmp_path, ratings, items=movies, out="32m")
    assert dataset.items.to_dict("records") == [
        {"item_id": "17", "title": "American President, The (1995)", "genres": "Comedy|Drama"}
    ]


def test_recbole_parts_are_one_set(tmp_path):
    header = "user_id:token\titem_id:token\ttimestamp:float\n"
    for part, line in {"train": "u\ta\t1\nu\tb\t2\n", "valid": "u\tc\t3\n", "test": "u\td\t4\n"}.items():
        write(tmp_path, f"toy.{part}.inter", header + line)
    dataset, _ = made(tmp_path, tmp_path / "toy.train.inter", split="given")
    assert [rows(dataset, part) for part in ("train", "valid", "test")] == [
        [("u", "a"), ("u", "b")], [("u", "c")], [("u", "d")]
    ]  # fmt: skip
    before = dataset.manifest.inputs["interactions"]["sha256"]
    write(tmp_path, "toy.test.inter", header + "u\td\t5\n")
    again, _ = made(tmp_path, tmp_path / "toy.train.inter", split="given", out="again")
    assert again.manifest.inputs["interactions"]["sha256"] != before


def frame(lines=THREE):
    return pd.DataFrame(lines, columns=["user_id", "item_id", "timestamp"])


def test_parquet_folders_and_partitions(tmp_path):
    expected, _ = made(tmp_path, write(tmp_path, "x.csv", csv_of(THREE)))
    for k, line in enumerate(THREE):
        (tmp_path / "parts" / f"day={k}").mkdir(parents=True)
        frame([line]).to_parquet(tmp_path / "parts" / f"day={k}" / "part.parquet")
    write(tmp_path, "parts/_SUCCESS", b"")
    dataset, report = made(tmp_path, tmp_path / "parts", out="a")
    assert dataset.identity == expected.identity
    assert report.format == "parquet"
    pq.write_to_dataset(pa.Table.from_pandas(frame()), tmp_path / "byuser", partition_cols=["user_id"])
    dataset, _ = made(tmp_path, tmp_path / "byuser", out="b")
    assert sorted(rows(dataset)) == sorted(rows(expected))
    frame([("u9", "i9", "soon")]).to_parquet(tmp_path / "parts" / "day=2" / "part.parquet")
    with pytest.raises(DataError, match=r"column 'timestamp' is \w+, in the first file int64"):
        made(tmp_path, tmp_path / "parts", out="c")


def test_many_batches_give_the_same_as_one(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    lines = [(f"u{a}", f"i{b}", t) for a, b, t in zip(*rng.integers(0, [[40], [30], [99]], (3, 500)), strict=True)]
    lines.insert(3, ("", "i1", 4))
    expected, report = made(tmp_path, write(tmp_path, "x.csv", csv_of(lines)))
    monkeypatch.setattr("demure.preparation.reading.delimited._BLOCK", 256)
    monkeypatch.setattr("demure.preparation.reading.jsonl._LINES", 17)
    monkeypatch.setattr("demure.preparation.reading.parquet._BATCH", 19)
    monkeypatch.setattr("demure.data.id_codes._UNIFY_AFTER", 50)
    monkeypatch.setattr("demure.preparation.reading.compression._PIECE", 31)
    monkeypatch.setattr("demure.preparation.reading.encoding._PIECE", 31)
    monkeypatch.setattr("demure.preparation.duplicates._BLOCK", 7)
    monkeypatch.setattr("demure.preparation.duplicates._BITS", 3)
    monkeypatch.setattr("demure.data.leakage._BLOCK", 7)
    monkeypatch.setattr("demure.preparation.write._ROWS", 11)
    write(tmp_path, "y.jsonl", frame(lines).to_dict("records"))
    frame(lines).to_parquet(tmp_path / "z.parquet")
    frame(lines).astype({"user_id": "category"}).to_parquet(tmp_path / "c.parquet")
    write(tmp_path, "d.dat", "\n".join("::".join(map(str, line)) for line in lines))
    for name in ("x.csv", "y.jsonl", "z.parquet", "c.parquet"):
        dataset, again = made(tmp_path, tmp_path / name, out=name + ".out")
        assert dataset.identity == expected.identity, name
        assert again.problems["empty user id"].rows[0].row == report.problems["empty user id"].rows[0].row - (
            name[0] in "yzc"
        )
        assert again.splits == report.splits
    dataset, _ = made(
        tmp_path, tmp_path / "d.dat", out="d", columns={"user": "1", "item": "2", "time": "3"}, format="cornac"
    )
    assert dataset.identity == expected.identity


def zstd(data):
    return pa.compress(data, codec="zstd", asbytes=True)


@pytest.mark.parametrize("compress", [gzip.compress, zstd, bz2.compress])
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_compressed(tmp_path, compress, kind):
    expected, _ = made(tmp_path, write(tmp_path, "x.csv", csv_of(THREE)))
    content = {"csv": csv_of(THREE).encode(), "jsonl": frame().to_json(orient="records", lines=True).encode(),
               "parquet": frame().to_parquet()}[kind]  # fmt: skip
    dataset, _ = made(tmp_path, write(tmp_path, f"x.{kind}.z", compress(content)), out="packed")
    assert dataset.identity == expected.identity


@pytest.mark.parametrize(
    ("encoding", "option"),
    [("utf-16", None), ("utf-8-sig", None), ("gb18030", "gb18030"), ("cp1252", "cp1252"), ("latin-1", None)],
)
def test_encodings(tmp_path, encoding, option):
    user = "é" if encoding in ("cp1252", "latin-1") else "日本"
    expected, _ = made(tmp_path, write(tmp_path, "x.csv", csv_of([(user, "a", 1)])))
    dataset, report = made(
        tmp_path, write(tmp_path, "y.csv", csv_of([(user, "a", 1)]).encode(encoding)), out="b", encoding=option
    )
    assert dataset.identity == expected.identity, report.notes


@pytest.mark.parametrize("delimiter", [";", "|", "\t", "\x01", "^", "~", ":", " "])
def test_any_delimiter(tmp_path, delimiter):
    dataset, _ = made(tmp_path, write(tmp_path, "x.csv", csv_of(THREE).replace(",", delimiter)))
    assert rows(dataset) == [line[:2] for line in THREE]


def test_columns_by_name_and_by_position(tmp_path):
    write(tmp_path, "x.csv", "user_id,visitorid,sku,when,item_id\nno,u1,i1,1,no\nno,u1,i2,2,no\nno,u2,i1,3,no\n")
    names = {"user": "visitorid", "item": "sku", "timestamp": "when"}
    dataset, report = made(tmp_path, tmp_path / "x.csv", columns=names)
    assert rows(dataset) == [line[:2] for line in THREE]
    assert "x.csv: column 'visitorid' is taken as user_id, as --columns says" in report.notes
    write(tmp_path, "y.csv", "i1,1,u1\ni2,2,u1\ni1,3,u2\n")
    by_position, _ = made(tmp_path, tmp_path / "y.csv", columns={"user": "3", "item": "1", "time": "2"}, out="places")
    assert by_position.identity == dataset.identity
    frame().rename(columns={"user_id": "visitorid", "item_id": "sku", "timestamp": "when"}).to_parquet(
        tmp_path / "z.parquet"
    )
    parquet, _ = made(tmp_path, tmp_path / "z.parquet", columns=names, out="parquet")
    assert parquet.identity == dataset.identity
    write(tmp_path, "w.jsonl", [{"visitorid": u, "sku": i, "when": t} for u, i, t in THREE])
    lines, _ = made(tmp_path, tmp_path / "w.jsonl", columns=names, out="lines")
    assert lines.identity == dataset.identity
    items = write(tmp_path, "items.csv", "sku,about\ni1,One\ni2,Two\n")
    described, _ = made(tmp_path, tmp_path / "x.csv", items=items, columns={**names, "title": "about"}, out="items")
    assert described.items["title"].tolist() == ["One", "Two"]
    with pytest.raises(DataError, match=r"no column 'visitor' \(there are: .*check --columns user_id=visitor"):
        made(tmp_path, tmp_path / "x.csv", columns={"user": "visitor"}, out="no")
    with pytest.raises(DataError, match="--columns: unknown role 'usr'; did you mean user"):
        made(tmp_path, tmp_path / "x.csv", columns={"usr": "visitor"}, out="no")
