"""Every step of cleaning by hand, and what it reports to have removed."""

import json

import numpy as np
import pandas as pd
import pytest
from support.data_by_hand import csv_of, made, rows, write

from demure.errors import DataError
from demure.preparation.prepare import PrepareOptions, prepare
from demure.preparation.with_features import prepare_with_features

RATED = [
    ("u", "a", 10, 5),
    ("u", "a", 20, 2),
    ("u", "b", 30, 4),
    ("v", "a", 40, 3),
    ("v", "c", 50, 5),
    ("w", "c", 60, ""),
]
HEADER = "user_id,item_id,timestamp,rating"


def steps(report):
    return [(s.step, s.removed, s.users_removed, s.items_removed, s.rows, s.users, s.items) for s in report.steps]


@pytest.fixture
def rated(tmp_path):
    return write(tmp_path, "x.csv", csv_of(RATED, HEADER))


@pytest.mark.parametrize(
    ("policy", "kept"),
    [("latest", [20]), ("first", [10]), ("best", [10]), ("all", [10, 20])],
)
def test_duplicates(tmp_path, rated, policy, kept):
    dataset, report = made(tmp_path, rated, duplicates=policy)
    times = dataset.histories("train", "valid", "test").times
    assert [time for time in times if time <= 20] == kept
    assert sum(problem.count for problem in report.problems.values()) == 2 - len(kept)
    assert report.splits["leave-one-out"].repeated == (policy == "all")


def test_ratings_are_looked_at_after_duplicates(tmp_path, rated):
    dataset, report = made(tmp_path, rated, min_rating=3)
    assert rows(dataset) == [("u", "b"), ("v", "a"), ("v", "c")]
    assert steps(report)[-1] == ("rating below 3, or none", 2, 1, 0, 3, 2, 3)
    kept, _ = made(tmp_path, rated, min_rating=3, duplicates="best", out="best")
    assert rows(kept) == [("u", "a"), ("u", "b"), ("v", "a"), ("v", "c")]


def test_dates(tmp_path, rated):
    dataset, report = made(tmp_path, rated, since="20", until="1970-01-01T00:00:50")
    assert rows(dataset) == [("u", "a"), ("u", "b"), ("v", "a")]
    assert steps(report) == [
        ("read", 0, 0, 0, 6, 3, 3), ("before --since", 1, 0, 0, 5, 3, 3), ("from --until on", 2, 1, 1, 3, 2, 2)
    ]  # fmt: skip


def test_users_and_items_have_cores_of_their_own(tmp_path):
    lines = [("u", "a", 1), ("u", "b", 2), ("u", "c", 3), ("v", "a", 4), ("v", "b", 5), ("w", "a", 6), ("x", "d", 7)]
    path = write(tmp_path, "x.csv", csv_of(lines))
    dataset, report = made(tmp_path, path, user_core=1, item_core=2)
    assert rows(dataset) == [("u", "a"), ("u", "b"), ("v", "a"), ("v", "b"), ("w", "a")]
    assert steps(report)[-1] == ("core of users 1, items 2", 2, 1, 2, 5, 3, 2)
    dataset, _ = made(tmp_path, path, user_core=2, out="users")
    assert rows(dataset) == [("u", "a"), ("u", "b"), ("u", "c"), ("v", "a"), ("v", "b")]
    dataset, _ = made(tmp_path, path, k_core=2, item_core=0, out="over")
    assert rows(dataset) == [("u", "a"), ("u", "b"), ("u", "c"), ("v", "a"), ("v", "b")]


def test_history_lengths(tmp_path):
    lines = [("u", f"i{k}", k) for k in range(5)] + [("v", "i0", 9), ("v", "i1", 8)] + [("w", "i0", 1)]
    path = write(tmp_path, "x.csv", csv_of(lines))
    dataset, report = made(tmp_path, path, max_history=3, min_history=2)
    assert rows(dataset) == [("u", "i2"), ("u", "i3"), ("u", "i4"), ("v", "i1"), ("v", "i0")]
    assert [step[:4] for step in steps(report)] == [
        ("read", 0, 0, 0), ("beyond the last 3 of a user", 2, 0, 0), ("user with fewer than 2", 1, 1, 0)
    ]  # fmt: skip


def test_items_without_any_modality(tmp_path):
    lines = [("u", item, k) for k, item in enumerate("abcde")]
    path = write(tmp_path, "x.csv", csv_of(lines))
    write(tmp_path, "a.png", b"x")
    items = write(tmp_path, "items.csv", "item_id,title,image\nf,,\na,,a.png\nb,Bee,\nc,,gone.png\nd,,\ne,,\n")
    matrix = np.zeros((6, 2), np.float32)
    matrix[4], matrix[5] = 1, np.nan
    np.save(tmp_path / "sound.npy", matrix)
    options = {"items": items, "features": {"sound": tmp_path / "sound.npy"}}
    kept, _ = made(tmp_path, path, **options)
    assert list(kept.item_ids) == list("fabcde")
    dataset, report = made(tmp_path, path, bare_items="drop", out="dropped", **options)
    assert list(dataset.item_ids) == list("abd")
    assert steps(report)[-1] == ("item without any modality", 2, 0, 2, 3, 1, 3)
    report = prepare_with_features(PrepareOptions(path, tmp_path / "f", bare_items="drop", **options))
    assert report.item_rows.tolist() == [1, 2, 4]
    frame = pd.DataFrame({"item_id": ["c", "d"], "vector": [[1.0], [0.0]]})
    frame.to_parquet(tmp_path / "v.parquet")
    by_id, _ = made(tmp_path, path, items=items, features={"v": tmp_path / "v.parquet"}, bare_items="drop", out="by id")
    assert list(by_id.item_ids) == list("abc")


def test_a_dry_run_reports_all_and_writes_nothing(tmp_path, rated):
    before = sorted(path.name for path in tmp_path.iterdir())
    report = prepare(PrepareOptions(rated, tmp_path / "out", min_rating=3, dry_run=True))
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert not report.written
    dataset, real = made(tmp_path, rated, min_rating=3)
    assert {**report.to_dict(), "written": True} == real.to_dict()
    assert dataset.manifest.steps == json.loads(json.dumps(report.to_dict()["steps"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"duplicates": "last"}, "--duplicates: unknown value 'last'; did you mean latest?; use one of latest, first,"),
        ({"bare_items": "no"}, "--bare-items: unknown value 'no'"),
        ({"ratio_by": "tiem", "split": "ratio"}, "--ratio-by: unknown value 'tiem'; did you mean time?"),
        ({"ratio": (80, 10, 20)}, "--ratio: 80/10/20 is not three parts of 100"),
        ({"ratio": (0, 50, 50)}, "--ratio: 0/50/50 is not three parts of 100"),
        ({"max_history": 2, "min_history": 3}, "--max-history: 2 is less than --min-history 3"),
        ({"min_history": 9}, "--min-history: no interaction is left: user with fewer than 9"),
        ({"since": "yesterday"}, "--since: 'yesterday' is not a date"),
        ({"since": "nan"}, "--since: 'nan' is not a date"),
        ({"since": "2020-01-01", "until": "2019-01-01"}, "--since: 2020-01-01 is not before --until 2019-01-01"),
        ({"since": "2020-01-01"}, "no usable row is left (before --since: 6)"),
        ({"min_rating": 6}, "no usable row is left"),
        ({"user_core": -1}, "--user-core: must be 0 or more, got -1"),
        (
            {"user_core": 2, "item_core": 4},
            "--user-core, --item-core: no interaction is in the core of users 2, items 4",
        ),
        ({"encoding": "utf-99"}, "--encoding: unknown encoding 'utf-99'"),
        ({"columns": {"user": "user_id", "user_id": "item_id"}}, "--columns: two columns for user_id"),
    ],
)
def test_what_cannot_be_asked(tmp_path, rated, options, message):
    with pytest.raises(DataError) as caught:
        made(tmp_path, rated, **options)
    assert message in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_what_the_columns_do_not_allow(tmp_path):
    path = write(tmp_path, "x.csv", "user_id,item_id\nu,a\n")
    for options, message in (
        ({"min_rating": 3.0}, "has no ratings, which --min-rating needs"),
        ({"duplicates": "best"}, "has no ratings, which --duplicates best needs"),
        ({"since": "2020-01-01"}, "has no timestamps, which --since needs"),
        ({"ratio_by": "time"}, "has no timestamps, which --ratio-by time needs"),
    ):
        with pytest.raises(DataError, match=message):
            made(tmp_path, path, split="ratio", **options)
