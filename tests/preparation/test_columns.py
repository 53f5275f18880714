"""What columns mean: the id of an item, what is text, what would give the held-out part away, ratings in words."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.data_by_hand import csv_of, made, rows, write

from demure.errors import DataError
from demure.preparation.reading.columns import is_behaviour

BOOKS = [
    {
        "isbn": "",
        "asin": "B000000000" if k % 3 == 0 else "",
        "book_id": f"10{k}",
        "title": f"Ships {k}",
        "is_ebook": "false",
        "popular_shelves": [{"count": "5", "name": "to-read"}],
        "similar_books": ["101", "102"],
        "text_reviews_count": "17",
        "description": f"A tale of {k} ships",
    }
    for k in range(5)
]
READ = [("u", "100", 5), ("u", "101", 3), ("v", "102", 4), ("v", "104", 0)]


@pytest.mark.parametrize("name", ["book_id", "item_id", "product"])
def test_the_id_of_an_item_is_the_column_with_the_ids_of_the_interactions(tmp_path, name):
    path = write(tmp_path, "x.csv", csv_of(READ, f"user_id,{name},rating"))
    dataset, report = made(tmp_path, path, items=write(tmp_path, "books.json", BOOKS), split="ratio")
    assert list(dataset.item_ids) == ["100", "101", "102", "103", "104"]
    assert any("column 'book_id' is taken as item_id (not 'asin', 'isbn')" in note for note in report.notes)
    assert dataset.manifest.text_columns == ["title", "description"]
    assert "is_ebook" in dataset.manifest.attribute_columns
    assert any("popular_shelves, similar_books, text_reviews_count left out" in note for note in report.notes)


def test_a_mostly_empty_column_of_the_interactions_is_not_the_id(tmp_path):
    lines = [("u", "", "1"), ("u", "B1", "2"), ("v", "", "3")]
    dataset, report = made(tmp_path, write(tmp_path, "x.csv", csv_of(lines, "user_id,asin,book_id")), split="ratio")
    assert rows(dataset) == [("u", "1"), ("u", "2"), ("v", "3")]
    assert any("column 'book_id' is taken as item_id (not 'asin')" in note for note in report.notes)


def test_ids_in_a_column_that_is_not_named_as_one(tmp_path):
    path = write(tmp_path, "x.csv", csv_of(READ, "user_id,item_id,rating"))
    items = write(tmp_path, "items.csv", "item_id,work\n1,100\n2,101\n3,102\n4,104\n")
    with pytest.raises(DataError) as caught:
        made(tmp_path, path, items=items, split="ratio")
    assert "has the items of the interactions in column 'work', not in 'item_id'" in str(caught.value)
    assert "say --columns items.item=work" in str(caught.value)
    dataset, _ = made(tmp_path, path, items=items, split="ratio", columns={"items.item": "work"})
    assert list(dataset.item_ids) == ["100", "101", "102", "104"]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.permutations(["asin", "isbn", "book_id", "id", "sku"]),
    st.sampled_from(["asin", "isbn", "book_id", "id", "sku"]),
    st.sampled_from(["item_id", "thing"]),
)
def test_any_order_of_columns_finds_the_ids_that_fit(tmp_path_factory, order, fitting, name):
    folder = tmp_path_factory.mktemp("ids")
    ids = ["7", "x-1", "007"]
    cells = {column: ids if column == fitting else [f"{column}{k}" for k in range(3)] for column in order}
    items = write(folder, "items.csv", csv_of(list(zip(*cells.values(), strict=True)), ",".join(cells)))
    path = write(folder, "x.csv", csv_of([("u", item) for item in ids], f"user_id,{name}"))
    dataset, _ = made(folder, path, items=items, split="ratio", columns={"item": name})
    assert list(dataset.item_ids) == ids


@pytest.mark.parametrize(
    "name",
    ["similar_books", "popular_shelves", "text_reviews_count", "num_likes", "totalSales", "averageUserRating",
     "playcount", "Number of Ratings", "stars", "review_count", "n_downloads", "vote_average", "viewCount",
     "also_bought"],
)  # fmt: skip
def test_names_of_what_users_did(name):
    assert is_behaviour(name)


@pytest.mark.parametrize("name", ["title", "review_of_the_editor", "genre", "number", "num_pages", "count", "year",
                                  "rating", "user_manual", "order", "age_rating", "playtime", "author"])  # fmt: skip
def test_names_of_what_items_are(name):
    assert not is_behaviour(name)


def test_a_rating_of_an_item_leaks_as_a_number_and_is_text_as_a_word(tmp_path):
    path = write(tmp_path, "x.csv", csv_of([("u", "a"), ("v", "b")], "user_id,item_id"))
    items = write(tmp_path, "n.csv", "item_id,title,rating\na,A,4.2\nb,B,3.9\n")
    dataset, report = made(tmp_path, path, items=items, split="ratio")
    assert "rating" not in dataset.items
    assert any("rating left out: sums over all users" in note for note in report.notes)
    items = write(tmp_path, "w.csv", "item_id,title,rating\na,A,PG-13\nb,B,R\n")
    dataset, _ = made(tmp_path, path, items=items, split="ratio", out="words")
    assert dataset.items["rating"].tolist() == ["PG-13", "R"]


def test_names_of_bookcrossing(tmp_path):
    path = write(tmp_path, "r.csv", '"User-ID";"ISBN";"Book-Rating"\n"u";"000X";"0"\n"u";"001X";"9"\n')
    items = write(tmp_path, "b.csv", '"ISBN";"Book-Title";"Book-Author"\n"000X";"One";"A"\n"001X";"Two";"B"\n')
    dataset, _ = made(tmp_path, path, items=items, split="ratio", min_rating=5)
    assert rows(dataset) == [("u", "001X")]
    assert dataset.items["title"].tolist() == ["One", "Two"]


RATINGS = {  # values of the column -> ratings
    ("4", "4,5", "3,25"): [4, 4.5, 3.25],
    ("1,500", "2,500"): [None, None],  # may be thousands
    ("1,500", "2,5"): [1.5, 2.5],
    ("true", "False", "TRUE"): [1, 0, 1],
    ("yes", "no", ""): [1, 0, None],
    ("5", "good", ""): [5, None, None],
    ("Recommended", "Not Recommended"): [None, None],
    ("inf", "1e400", "3"): [None, None, 3],
}


@pytest.mark.parametrize("values", RATINGS, ids=str)
def test_ratings(tmp_path, values):
    content = "user;item;rating\n" + "".join(f"u;i{k};{value}\n" for k, value in enumerate(values))
    path = write(tmp_path, "x.csv", content)
    dataset, report = made(tmp_path, path, split="ratio")
    assert len(rows(dataset)) == len(values)  # no rating was asked for, so none costs a row
    table = pq.read_table(tmp_path / "out" / "interactions.parquet").sort_by("item_id")
    expected = RATINGS[values]
    if any(rating is not None for rating in expected):
        assert table["rating"].to_pylist() == expected
    else:
        assert "rating" not in table.column_names
    n_bad = sum(rating is None and value != "" for value, rating in zip(values, expected, strict=True))
    assert (n_bad, "kept without rating" if n_bad else None) == next(
        ((problem.count, problem.action) for kind, problem in report.problems.items() if kind == "bad rating"),
        (0, None),
    )


def test_true_and_false_as_ratings(tmp_path):
    records = [{"user_id": "u", "item_id": f"i{k}", "recommend": k % 2 == 0} for k in range(4)]
    as_json = write(tmp_path, "x.json", records)
    pq.write_table(pa.Table.from_pylist(records), as_parquet := tmp_path / "x.parquet")
    for path in (as_json, as_parquet):
        dataset, _ = made(tmp_path, path, columns={"rating": "recommend"}, min_rating=1, split="ratio", out=path.suffix)
        assert rows(dataset) == [("u", "i0"), ("u", "i2")]


def test_every_column_is_named_that_is_not_used(tmp_path):
    names = ["user_id", "item_id", *(f"extra {k}" for k in range(30))]
    path = write(tmp_path, "x.csv", csv_of([range(32)], ",".join(names)))
    dataset, _ = made(tmp_path, path, split="ratio")
    notes = json.loads((tmp_path / "out" / "dataset.json").read_text())["notes"]
    assert f"x.csv: columns that are not used: {', '.join(names[2:])}" in notes
    assert notes == dataset.manifest.notes
