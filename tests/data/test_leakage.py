"""Leaks of a split, by hand and against a slow reference; several splits side by side."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.data_by_hand import csv_of, made, rows, write

from demure.data.dataset import Dataset
from demure.data.leakage import count_leaks
from demure.data.splits import split_by_ratio
from demure.errors import DatasetError
from demure.features import store
from demure.preparation.prepare import PrepareOptions, prepare
from demure.preparation.with_features import prepare_with_features

LINES = [("u", "a", 1), ("u", "b", 5), ("u", "c", 9), ("v", "a", 2), ("v", "b", 3), ("v", "d", 4), ("w", "e", 10)]


def test_by_hand():
    users, items = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 2, 0, 3, 4])
    times, split = np.array([1.0, 5, 9, 2, 4, 10]), np.array([0, 2, 0, 0, 1, 2], np.int8)
    leaks = count_leaks(users, items, times, split, dates=np.array([0.0, 0, 99, np.nan, 99]))
    assert (leaks.train, leaks.valid, leaks.test, leaks.cut) == (3, 1, 2, 4.0)
    assert leaks.after_cut == 1  # u's third choice, at 9
    assert leaks.after_own == 1  # the same: later than u's own test choice at 5
    assert (leaks.repeated, leaks.users_without_train, leaks.items_without_train) == (0, 1, 3)
    assert leaks.items_from_later == 1  # item 2 is in train, and is dated 99


PART = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 9), st.integers(0, 2)), min_size=1)


@given(PART)
def test_against_the_slow_way(lines):
    lines.sort(key=lambda line: line[0])
    users, items, times, split = (np.array(column) for column in zip(*lines, strict=True))
    leaks = count_leaks(users, items, times.astype(float), split.astype(np.int8))
    train, held = ([x for x in lines if (x[3] == 0) == side] for side in (True, False))
    valid, test = ([x for x in lines if x[3] == part] for part in (1, 2))
    after = own = 0
    for earlier, later in ((train, held), (valid, test)):
        after += sum(bool(later) and x[2] > min(y[2] for y in later) for x in earlier)
        own += sum(any(x[0] == y[0] and x[2] > y[2] for y in later) for x in earlier)
    assert (leaks.after_cut, leaks.after_own) == (after, own)
    assert leaks.repeated == len({x[:2] for x in train} & {x[:2] for x in held})
    assert leaks.users_without_train == len({x[0] for x in held} - {x[0] for x in train})
    assert leaks.items_without_train == len({x[1] for x in held} - {x[1] for x in train})


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.tuples(st.integers(1, 98), st.integers(0, 98)))
def test_shares_of_a_ratio(sizes, parts):
    train, valid = parts[0], min(parts[1], 100 - parts[0])
    shares = (train, valid, 100 - train - valid)
    users = np.repeat(np.arange(len(sizes)), sizes)
    for timed in (True, False):
        split = split_by_ratio(users, timed=timed, seed=0, shares=shares)
        for user, size in enumerate(sizes):
            mine = np.bincount(split[users == user], minlength=3)
            if size >= 3:
                assert mine[0] >= 1
                for part in (1, 2):
                    assert (mine[part] > 0) == (shares[part] > 0)
                    assert mine[part] <= max(1, (size * shares[part] + 50) // 100)
            else:
                assert mine.tolist() == [size, 0, 0]


def test_a_global_cut_lets_nothing_through(tmp_path):
    rng = np.random.default_rng(0)
    lines = [(f"u{a}", f"i{b}", t) for a, b, t in zip(*rng.integers(0, [[30], [40], [99]], (3, 900)), strict=True)]
    path = write(tmp_path, "x.csv", csv_of(lines))
    for shares in ((80, 10, 10), (50, 25, 25), (90, 0, 10)):
        _, report = made(tmp_path, path, split="time", ratio=shares, overwrite=True)
        leaks = report.splits["time"]
        assert (leaks.after_cut, leaks.after_own, leaks.repeated) == (0, 0, 0)
        assert abs(leaks.train / 100 / report.counts["interactions"] - shares[0] / 10000) < 0.001


def test_given_splits_are_looked_at_too(tmp_path):
    content = csv_of([("u", "a", 1, "test"), ("u", "b", 2, "train"), ("u", "a", 3, "train")], "user,item,time,split")
    _, report = made(tmp_path, write(tmp_path, "x.csv", content), split="given", duplicates="all")
    leaks = report.splits["given"]
    assert (leaks.after_own, leaks.repeated) == (2, 1)


@pytest.fixture
def several(tmp_path):
    path = write(tmp_path, "x.csv", csv_of([(*line, "train") for line in LINES], "user_id,item_id,timestamp,split"))
    items = write(tmp_path, "items.csv", "item_id,title\n" + "".join(f"{item},{item}\n" for item in "abcde"))
    np.save(tmp_path / "sound.npy", np.eye(5, dtype=np.float32))
    options = {"items": items, "features": {"sound": tmp_path / "sound.npy"}}
    return path, prepare_with_features(PrepareOptions(path, tmp_path / "all", split="all", **options)), options


def test_splits_side_by_side(tmp_path, several):
    path, report, options = several
    names = ["leave-one-out", "user-time", "random", "global-time", "given"]
    assert list(report.splits) == list(report.folders) == names
    options_of = {"leave-one-out": {"split": "leave-one-out"}, "user-time": {"split": "ratio", "ratio_by": "time"},
             "random": {"split": "ratio", "ratio_by": "random"}, "global-time": {"split": "time"},
             "given": {"split": "given"}}  # fmt: skip
    for name in names:
        among = Dataset.load(tmp_path / "all" / name)
        alone, _ = made(tmp_path, path, out=name, **options_of[name], **options)
        assert among.identity == alone.identity, name
        assert among.manifest.leaks == alone.manifest.leaks
        assert replace(among.manifest, notes=[]) == replace(alone.manifest, notes=[]), name
        assert among.modalities() == ["sound"]
        assert store.load(among.path, "sound").vectors.tolist() == np.eye(5).tolist()
        assert sorted(rows(among)) == sorted(line[:2] for line in LINES)
    written = json.loads((tmp_path / "all" / "splits.json").read_text())
    assert written["splits"]["global-time"]["after_cut"] == 0
    with pytest.raises(DatasetError, match=r"holds several splits, each a dataset folder; name one: .*/all/given"):
        Dataset.load(tmp_path / "all")


def test_several_splits_can_be_replaced_and_are_the_same_again(tmp_path, several):
    path, _, options = several

    def contents():
        return {p.relative_to(tmp_path / "all"): p.read_bytes() for p in (tmp_path / "all").rglob("*") if p.is_file()}

    before = contents()
    prepare_with_features(PrepareOptions(path, tmp_path / "all", split="all", overwrite=True, **options))
    assert contents() == before


def test_without_times_only_chance_is_left(tmp_path):
    path = write(tmp_path, "x.csv", csv_of([line[:2] for line in LINES], "user_id,item_id"))
    report = prepare(PrepareOptions(path, tmp_path / "all", split="all"))
    assert list(report.splits) == ["random"]
    assert report.splits["random"].after_cut is None
    assert any("no timestamps" in note for note in report.notes)


def test_dated_items_and_columns_of_behaviour(tmp_path):
    path = write(tmp_path, "x.csv", csv_of([("u", "a", 1e9), ("u", "b", 1.1e9), ("u", "c", 1.2e9)]))
    items = write(
        tmp_path, "items.csv", "item_id,title,release_date,salesRank\na,A,2015-01-01,5 in Books\nb,B,2001,\nc,C,,\n"
    )
    dataset, report = made(tmp_path, path, items=items)
    assert report.splits["leave-one-out"].items_from_later == 1
    assert dataset.text_columns == ["title"] or "release_date" in dataset.text_columns
    assert "salesRank" not in dataset.text_columns
    assert "items.csv: column 'release_date' is taken as the items' dates, for the check of leaks" in report.notes


def test_a_split_that_cannot_be_made_is_left_out_of_all(tmp_path):
    lines = [("u", "a", 5, "red"), ("u", "b", 5, "train"), ("v", "a", 5, "test")]
    path = write(tmp_path, "x.csv", csv_of(lines, "user_id,item_id,timestamp,split"))
    report = prepare(PrepareOptions(path, tmp_path / "all", split="all"))
    assert list(report.splits) == ["leave-one-out", "user-time", "random"]
    assert report.counts["interactions"] == 3
    assert "--split all: column 'split' is not a split (it holds 'red')" in report.notes
    assert "--split all: global-time is left out: nothing is left to train on" in report.notes
