"""A log in parts gives the dataset folder of one process, byte for byte."""

import csv
import dataclasses
import gzip
import json
import shutil
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from support.executors import PickledExecutor

from demure.data.splits import split_by_ratio
from demure.errors import DataError, DemureError
from demure.preparation.partitioned import prepare as in_parts
from demure.preparation.partitioned.ids import choose_ranges
from demure.preparation.partitioned.order_statistics import Borders, count_digits, values_at
from demure.preparation.prepare import PrepareOptions, prepare
from demure.preparation.reading.raw_table import RowNumbers
from demure.preparation.with_features import prepare_with_features
from demure_cli.app import main

SMALL = in_parts.PartSizes(part=3, bucket=4, partition=3)


def outcome(options, executor=None):
    """The report of a preparation, or its error."""
    try:
        report = prepare(options) if executor is None else prepare(options, executor=executor)
    except DemureError as error:
        return str(error)
    values = report.to_dict() | {"rows": report.item_rows.tolist(), "file_rows": report.item_file_rows}
    return json.loads(json.dumps(values).replace(str(options.out), "OUT"))


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def same(folder, **options):
    """Prepare in one process and in parts, compare all, and return the report or error."""
    whole = PrepareOptions(out=folder / "whole", **options)
    expected = outcome(whole)
    parts = dataclasses.replace(whole, out=folder / "parts")
    actual = outcome(parts, PickledExecutor(3))
    assert actual == expected
    assert content(parts.out) == content(whole.out)
    assert [path for path in folder.iterdir() if path.name.startswith(".")] == []
    return actual


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(in_parts, "SIZES", SMALL)


def write_csv(path, header, rows):
    with open(path, "w", newline="") as handle:
        csv.writer(handle).writerows([header, *rows])
    return path


ROW = st.tuples(
    st.sampled_from(["", " ", "a", "b", "c", "é", '"q"', "NA", "1e+5", " x", "u1,u2"]),
    st.sampled_from(["", "1", "2", "3", "4", "🧦", "nan", "i1 i2"]),
    st.sampled_from(["", "-1", "0", "1", "2", "3.5", "x", "inf", "1600000000", "1600000001", "1700000000000"]),
    st.sampled_from(["", "1", "2", "5", "?", "yes", "3,5"]),
    st.sampled_from(["", "view", "buy", "impression"]),
    st.sampled_from(["train", "valid", "test", "0"]),
)
OPTIONS = st.fixed_dictionaries(
    {"split": st.sampled_from(["all", "ratio", "time", "leave-one-out", "given"])},
    optional={
        "ratio_by": st.sampled_from(["time", "random"]),
        "seed": st.integers(0, 3),
        "since": st.sampled_from(["1", "1600000001"]),
        "until": st.sampled_from(["3.5", "1600000001"]),
        "duplicates": st.sampled_from(["latest", "first", "best", "all"]),
        "min_rating": st.sampled_from([2.0, 3.0]),
        "k_core": st.integers(0, 2),
        "user_core": st.integers(0, 3),
        "item_core": st.integers(0, 3),
        "max_history": st.integers(2, 4),
        "min_history": st.integers(0, 2),
        "bare_items": st.sampled_from(["drop"]),
        "events": st.sampled_from([{"view": None}, {"view": 1.0, "buy": 4.0}]),
    },
)
ITEMS = [("2", "socks", "2020-01-01"), ("🧦", "more socks", ""), ("4", "", "2021-01-01"), ("9", "gloves", "2019-01-01")]
ITEMS += [("3", "", ""), ("2", "again", "")]
COLUMNS = st.sets(st.integers(2, 5))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=30), options=OPTIONS, columns=COLUMNS, with_items=st.booleans())
def test_drawn_logs(tmp_path_factory, rows, options, columns, with_items):
    compare_drawn(tmp_path_factory.mktemp("drawn"), rows, options, columns, with_items)


@pytest.mark.slow
@settings(max_examples=600, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=80), options=OPTIONS, columns=COLUMNS, with_items=st.booleans())
def test_many_drawn_logs(tmp_path_factory, rows, options, columns, with_items):
    compare_drawn(tmp_path_factory.mktemp("drawn"), rows, options, columns, with_items)


def compare_drawn(folder, rows, options, columns, with_items):
    kept = [0, 1, *sorted(columns)]
    names = ["user_id", "item_id", "timestamp", "rating", "event", "split"]
    log = write_csv(folder / "x.csv", [names[k] for k in kept], [[row[k] for k in kept] for row in rows])
    items = write_csv(folder / "items.csv", ["item_id", "title", "year"], ITEMS) if with_items else None
    same(folder, interactions=log, items=items, **options)
    shutil.rmtree(folder)


def plain_log(n=60):
    rng = np.random.default_rng(0)
    return {
        "user_id": [f"u{k}" for k in rng.integers(0, 9, n)],
        "item_id": [f"i{k}" for k in rng.integers(0, 7, n)],
        "timestamp": (1_600_000_000 + rng.integers(0, 50, n) * 40_000).tolist(),
        "rating": rng.integers(1, 6, n).tolist(),
    }


def test_all_splits_of_a_clean_log(tmp_path):
    columns = plain_log()
    log = write_csv(tmp_path / "x.csv", list(columns), zip(*columns.values(), strict=True))
    report = same(tmp_path, interactions=log, split="all", k_core=3, max_history=8)
    assert list(report["splits"]) == ["leave-one-out", "user-time", "random", "global-time"]
    assert report["steps"][-1]["rows"] > 30


@pytest.mark.parametrize("kind", ["texts", "numbers", "floats", "dictionaries"])
def test_a_folder_of_parquet(tmp_path, kind):
    columns = plain_log()
    if kind in ("numbers", "floats"):
        for name in ("user_id", "item_id"):
            columns[name] = [int(value[1:]) for value in columns[name]]
    if kind == "floats":  # as pandas stores ids with gaps: whole numbers here, and one fraction there
        columns["user_id"][7] = None
        columns["item_id"] = [value + 0.5 if value == 3 else float(value) for value in columns["item_id"]]
    table = pa.table(columns)
    if kind == "floats":
        table = table.set_column(0, "user_id", table["user_id"].cast(pa.float64()))
    if kind == "numbers":
        table = table.set_column(2, "timestamp", table["timestamp"].cast(pa.timestamp("s")))
    if kind == "dictionaries":
        for k, name in enumerate(("user_id", "item_id")):
            ordered = pa.array(sorted(set(columns[name])))  # not in the order of appearance, and with one that never is
            codes = pa.array([ordered.to_pylist().index(value) for value in columns[name]], pa.int32())
            values = pa.concat_arrays([pa.array(["never"]), ordered])
            codes = pa.array(np.asarray(codes) + 1, pa.int32())
            table = table.set_column(k, name, pa.DictionaryArray.from_arrays(codes, values))
    for k in range(3):
        folder = tmp_path / "log" / f"split={('train', 'valid', 'test')[k]}"
        folder.mkdir(parents=True)
        pq.write_table(table.slice(20 * k, 20), folder / "rows.parquet", row_group_size=4)
    report = same(tmp_path, interactions=tmp_path / "log", split="given")
    assert "log: 3 Parquet files, in the order of their names" in report["notes"]


TIMES = {
    "milliseconds among seconds": ["1600000000", "1600000500", "1600000400000", "1600000300"] * 3,
    "ISO 8601": ["2021-03-10T09:05:00", "2021-03-11", "2020-01-01 00:00:00+01:00", "no"] * 3,
    "names of months": ["10 Mar 2021", "Mar 11, 2021", "2021-03-12", ""] * 3,
    "dates in digits": ["20210310", "20210311", "20210312", "7"] + ["20210401"] * 40,
    "days": ["18700", "18701", "18702.5", "18703"] * 3,
    "small numbers": ["1", "2", "3", "-1"] * 3,
    "decimal commas": ["1600000000,5", "1600000001,25", "1600000002", "x"] * 3,
    "two in the middle": ["1", "1", "1600000000", "1600000001"],
    "too late": ["99999999999", "99999999998", "4", "5"] * 3 + ["99999999997"] * 9,
    "nothing": ["", " ", "", ""] * 3,
    "no times": ["x", "y", "", "z"] * 3,
}


@pytest.mark.parametrize("name", TIMES)
def test_notations_of_times(tmp_path, name):
    rows = [(f"u{k % 3}", f"i{k % 4}", time) for k, time in enumerate(TIMES[name])]
    same(tmp_path, interactions=write_csv(tmp_path / "x.csv", ["user_id", "item_id", "time"], rows), split="ratio")


@pytest.mark.parametrize("time_format", ["day-first", "%d/%m/%Y", "digits", "seconds"])
def test_a_stated_notation(tmp_path, time_format):
    times = ["03/04/2021", "20210310", "1600000000", "10 Mar 2021", "31/12/2020", "x"]
    rows = [(f"u{k % 3}", f"i{k % 4}", times[k % len(times)]) for k in range(14)]
    log = write_csv(tmp_path / "x.csv", ["user_id", "item_id", "date"], rows)
    same(tmp_path, interactions=log, time_format=time_format)


def test_text_with_bad_rows_and_line_breaks(tmp_path):
    text = 'user_id;item_id;date;note\na;1;2021-03-10;"two\nlines"\nb;2\n\nb;1;never;x\nc;;2021-03-11;\n'
    text += "b;3;2021-03-12;y;z\n"
    log = tmp_path / "x.csv"
    log.write_text(text + "".join(f"u{k % 3};{k % 5};2021-03-{10 + k % 9};\n" for k in range(20)))
    report = same(tmp_path, interactions=log, bad_rows="skip", encoding="cp1252")
    assert report["problems"]["bad timestamp"]["first"] == [{"file": "x.csv", "row": 4, "value": "never"}]


def test_objects_whose_keys_come_and_go(tmp_path):
    records = [{"user": f"u{k % 3}", "movie": k % 4, "ts": 1_600_000_000 + k} for k in range(20)]
    records[9] |= {"rating": 4.5}
    records[3]["user"] = None
    log = tmp_path / "x.jsonl.gz"
    log.write_bytes(gzip.compress("".join(json.dumps(record) + "\n" for record in records).encode()))
    same(tmp_path, interactions=log, columns={"item": "movie"})


def test_the_better_filled_of_two_columns(tmp_path):
    rows = [("", f"u{k % 4}", f"i{k % 3}", k) for k in range(12)]
    log = write_csv(tmp_path / "x.csv", ["userid", "uid", "item_id", "time"], rows)
    report = same(tmp_path, interactions=log, split="ratio")
    assert report["steps"][-1]["users"] == 4


def test_items_with_images_and_features(tmp_path):
    columns = plain_log()
    log = write_csv(tmp_path / "x.csv", list(columns), zip(*columns.values(), strict=True))
    rows = [(f"i{k}", f"sock {k}", f"{k}.png" if k % 2 else "") for k in range(6, -3, -1)]
    items = write_csv(tmp_path / "items.csv", ["item_id", "title", "image"], rows)
    for k in (1, 5):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{k}.png")
    np.save(tmp_path / "video.npy", np.arange(18.0).reshape(9, 2))
    options = {"interactions": log, "items": items, "features": {"video": tmp_path / "video.npy"}, "split": "all"}
    whole, parts = (PrepareOptions(out=tmp_path / name, **options) for name in ("whole", "parts"))
    local, remote = prepare_with_features(whole), prepare_with_features(parts, executor=PickledExecutor(3))
    assert local.item_rows.tolist() == remote.item_rows.tolist()
    assert content(parts.out) == content(whole.out)
    again = dataclasses.replace(parts, overwrite=True, split="ratio", features={})
    assert prepare_with_features(again, executor=PickledExecutor()).notes[-1].startswith("features kept")


def test_a_dry_run_leaves_nothing(tmp_path):
    log = write_csv(tmp_path / "x.csv", ["user_id", "item_id"], [("a", 1), ("a", 2), ("a", 3)])
    report = same(tmp_path, interactions=log, split="ratio", dry_run=True)
    assert not report["written"]
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_what_is_not_read_in_parts(tmp_path, monkeypatch):
    def refuse(name, header, rows, match, **options):
        log = write_csv(tmp_path / name, header, rows)
        with pytest.raises(DataError, match=match):
            prepare(PrepareOptions(log, tmp_path / "out", **options), executor=PickledExecutor())
        assert not (tmp_path / "out").exists()

    timed = ["user_id", "item_id", "date"]
    orders = [("a", "1", "3/4/2021"), ("b", "2", "5/6/2021")]
    digits = [("a", "1", "10032021")] * 9
    refuse("x.inter", ["userID\titemID\tx_label"], [["0\t0\t0"]], "is mmrec, which is not read in parts; leave")
    lists = [("a", "['1', '2']")]
    refuse("x.csv", ["user_id", "item_id"], lists, "column 'item_id' holds lists or objects", split="ratio")
    refuse("x.csv", timed, orders, "such as '3/4/2021', whose order .* say --time-format year-first")
    refuse("x.csv", timed, digits, "such as '10032021', whose order --on ray does not work out")
    refuse("x.csv", timed, [], "has no rows, only a header")
    monkeypatch.setattr("demure.preparation.partitioned.plan._MOST_VALUES", 2)
    events = [("a", str(k), f"event {k}") for k in range(4)]
    refuse("x.csv", ["user_id", "item_id", "action"], events, "more than 2 different values", split="ratio")
    nested = pa.table({"user_id": ["a"], "item_id": [["1", "2"]]})
    pq.write_table(nested, tmp_path / "x.parquet")
    with pytest.raises(DataError, match="column 'item_id' holds lists or objects"):
        prepare(PrepareOptions(tmp_path / "x.parquet", tmp_path / "out"), executor=PickledExecutor())
    (tmp_path / "x.parquet.gz").write_bytes(gzip.compress((tmp_path / "x.parquet").read_bytes()))
    with pytest.raises(DataError, match="is a compressed file of Parquet; decompress it"):
        prepare(PrepareOptions(tmp_path / "x.parquet.gz", tmp_path / "out"), executor=PickledExecutor())


def test_the_command_refuses_before_ray_is_needed(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    log = tmp_path / "x.inter"
    log.write_text("userID\titemID\tx_label\n0\t0\t0\n")
    for options, message in (
        ([], f"{log}: is mmrec, which is not read in parts; leave --on out, or give csv, "),
        (["--k-core", "-1"], "Invalid value"),
    ):
        command = ["prepare", "--interactions", str(log), "--out", str(tmp_path / "out"), "--on", "ray", *options]
        assert main(command) == 2
        assert message in capsys.readouterr().err
    log.write_text("user_id,item_id\na,1\n")
    assert main([*command[:-2], "--format", "csv"]) == 2
    assert "the package ray is not installed" in capsys.readouterr().err
    assert main(["prepare", "--interactions", str(log), "--out", str(tmp_path / "out"), "--ray-workers", "2"]) == 2


FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.lists(FLOATS), min_size=1).filter(any), st.sets(FLOATS, min_size=1))
def test_a_median_beside_thresholds(parts, thresholds):
    limits = sorted(thresholds)
    borders = Borders.together([Borders.of(np.array(part), limits) for part in parts])
    with np.errstate(over="ignore"):
        median = np.median(np.concatenate(parts))
    assert [borders.median() >= limit for limit in limits] == [median >= limit for limit in limits]


@given(st.lists(st.lists(FLOATS), min_size=1), st.lists(st.floats(0, 1), max_size=3))
def test_numbers_at_places_in_their_order(parts, shares):
    ordered = np.append(np.sort(np.concatenate(parts)), np.inf)
    positions = [int(share * (len(ordered) - 1)) for share in shares]

    def count(prefixes, digit):
        return sum(count_digits(np.array(part), prefixes, digit) for part in parts)

    assert values_at(positions, len(ordered) - 1, count).tolist() == ordered[positions].tolist()


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(1, 9)), min_size=1), st.integers(1, 20))
def test_ranges_of_users(users, most):
    points = np.array(list({key: (key, rows) for key, rows in users}.values()))
    ranges = choose_ranges(points, 100, most)
    assert [(each.number, each.start) for each in ranges] == [
        (k, start) for k, start in enumerate([0, *(each.stop for each in ranges[:-1])])
    ]
    assert ranges[-1].stop == 100
    for each in ranges:
        rows = [rows for key, rows in points if each.start <= key < each.stop]
        assert rows
        assert sum(rows[:-1]) < most + max(rows)


@given(st.lists(st.integers(1, 5), min_size=2, max_size=20), st.integers(0, 9))
def test_a_drawn_split_does_not_depend_on_parts(sizes, seed):
    users = np.repeat(np.arange(len(sizes)), sizes)
    whole = split_by_ratio(users, timed=False, seed=seed)
    cut = sum(sizes[: len(sizes) // 2])
    first, second = users[:cut], users[cut:] - len(sizes) // 2
    parts = [split_by_ratio(first, timed=False, seed=seed), split_by_ratio(second, timed=False, seed=seed, first=cut)]
    assert np.concatenate(parts).tolist() == whole.tolist()


@given(st.sets(st.integers(2, 40)), st.integers(0, 5))
def test_numbers_of_rows_around_skipped_ones(skipped, start):
    left = [number for number in range(2, 60) if number not in skipped]
    numbers = RowNumbers(2, skipped=np.array(sorted(skipped), dtype=np.int64)).from_row(start)
    assert numbers.of(np.arange(10)).tolist() == left[start : start + 10]
