"""From raw files to a dataset folder: rows that are read, kept, dropped and reported."""

import gzip
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demure.data.dataset import Dataset
from demure.errors import DatasetError, DemureError
from demure.preparation.prepare import PrepareOptions, prepare

ROWS = [("u1", "i1", 10), ("u1", "i2", 30), ("u1", "i3", 20), ("u2", "i3", 5), ("u2", "i1", 6)]


@pytest.fixture
def make(tmp_path):
    """Write files, prepare them; return the dataset and the report."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def make(content, items=None, *, name="x.csv", items_name="items.csv", out="out", **options):
        path = write(name, content)
        items_path = None if items is None else write(items_name, items)
        report = prepare(PrepareOptions(path, tmp_path / out, items=items_path, **options))
        return Dataset.load(tmp_path / out), report

    make.folder, make.write = tmp_path, write
    return make


def csv_of(rows=ROWS, header="user_id,item_id,timestamp"):
    return "\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n"


def pairs(dataset, *splits):
    histories = dataset.histories(*(splits or ("train", "valid", "test")))
    return {user: [dataset.item_ids[item] for item in histories.of(k)] for k, user in enumerate(dataset.user_ids)}


def kept_rows(dataset):
    return len(dataset.histories("train", "valid", "test").items)


def test_leave_one_out_by_hand(make):
    dataset, report = make(csv_of())
    assert pairs(dataset, "train") == {"u1": ["i1"], "u2": ["i3", "i1"]}
    assert pairs(dataset, "valid") == {"u1": ["i3"], "u2": []}
    assert pairs(dataset, "test") == {"u1": ["i2"], "u2": []}
    assert pairs(dataset, "train", "valid")["u1"] == ["i1", "i3"]
    assert list(dataset.item_ids) == ["i1", "i2", "i3"]
    assert dataset.histories("train", "valid", "test").times.tolist() == [10, 20, 30, 5, 6]
    assert report.counts == {
        "users": 2, "items": 3, "cold_items": 0, "interactions": 5, "train": 3, "valid": 1, "test": 1
    }  # fmt: skip
    assert any("1 users with fewer than 3" in note for note in report.notes)


def test_ties_in_time_keep_the_order_of_the_file(make):
    dataset, _ = make(csv_of([("u", "c", 1), ("u", "a", 1), ("u", "b", 1), ("u", "d", 0)]))
    assert pairs(dataset)["u"] == ["d", "c", "a", "b"]
    assert pairs(dataset, "test")["u"] == ["b"]


def as_jsonl(frame):
    return "".join(json.dumps(row) + "\n" for row in frame.to_dict("records"))


@pytest.mark.parametrize("kind", ["csv", "tsv", "semicolon", "bom", "jsonl", "parquet", "recbole", "mixed case"])
@pytest.mark.parametrize("zipped", [False, True])
def test_every_format_gives_the_same(make, tmp_path, kind, zipped):
    expected, _ = make(csv_of())
    frame = pd.DataFrame(ROWS, columns=["user_id", "item_id", "timestamp"])
    name, content = {
        "csv": ("a.csv", csv_of().encode()),
        "tsv": ("a.tsv", csv_of().replace(",", "\t").encode()),
        "semicolon": ("a.csv", csv_of().replace(",", ";").encode()),
        "bom": ("a.csv", b"\xef\xbb\xbf" + csv_of().replace("\n", "\r\n").encode()),
        "jsonl": ("a.jsonl", as_jsonl(frame).encode()),
        "parquet": ("a.parquet", frame.to_parquet()),
        "recbole": (
            "a.inter", csv_of(header="user_id:token,item_id:token,timestamp:float").replace(",", "\t").encode()
        ),
        "mixed case": ("a.csv", csv_of(header="userID,Item ID,TIMESTAMP").encode()),
    }[kind]  # fmt: skip
    name, content = (name + ".gz", gzip.compress(content)) if zipped else (name, content)
    dataset, report = make(content, name=name, out="other")
    assert dataset.identity == expected.identity
    assert report.format == (kind if kind in ("jsonl", "parquet", "recbole") else "csv")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_ids_are_kept_exactly(make, kind):
    odd = ["007", "7", " 7", "7.0", "NA", "None", "null", "é", "e\u0301", 'sa"id', "a,b", "1e3", "日本", "true"]
    frame = pd.DataFrame({"user_id": odd, "item_id": odd[::-1]}, dtype=object)
    content = {
        "csv": lambda: frame.to_csv(index=False).encode(),
        "jsonl": lambda: as_jsonl(frame).encode(),
        "parquet": frame.to_parquet,
    }[kind]()
    dataset, report = make(content, name=f"x.{kind}", split="ratio")
    assert list(dataset.user_ids) == odd
    assert list(dataset.item_ids) == odd[::-1]
    assert not report.problems
    assert any("'None' in column 'user_id' is taken as an id" in note for note in report.notes)


@pytest.mark.parametrize(
    ("ids", "note"),
    [
        (["1.23457E+12", "B2"], "1 ids in column 'item_id', such as '1.23457E+12', are numbers that a spreadsheet has"),
        ([" a", "b "], "2 ids in column 'item_id', such as ' a', begin or end with a space"),
        (["'a'", "b"], "1 ids in column 'item_id', such as \"'a'\", are in quotation marks, which are part of the id"),
        (["N1 N2 N3", "N1 N4"], "most ids in column 'item_id' look like several, such as 'N1 N2 N3'"),
        (["{a7,b8}", "{b8,c9}"], "most ids in column 'item_id' look like several, such as '{a7,b8}'"),
        (["a1|b2", "a1|b3"], "most ids in column 'item_id' look like several, such as 'a1|b2'"),
        (["Half-Life 2", "Portal, 2007", "A|B"], None),
        (["2e5", "O'Neill"], None),
    ],
)
def test_odd_ids_are_kept_and_noted(make, ids, note):
    content = pd.DataFrame({"user_id": "u", "item_id": ids}).to_csv(index=False)
    dataset, report = make(content, split="ratio")
    assert list(dataset.item_ids) == ids
    odd = [line for line in report.notes if "ids in column" in line]
    assert len(odd) == (note is not None)
    assert note is None or note in odd[0]


def test_numbers_as_ids(make):
    dataset, _ = make(pd.DataFrame({"user_id": [1.0, 2.0, np.nan], "item_id": [10, 2**60, 3]}).to_parquet(),
                      name="x.parquet", split="ratio")  # fmt: skip
    assert (list(dataset.user_ids), list(dataset.item_ids)) == (["1", "2"], ["10", str(2**60)])
    wide = pd.DataFrame({"user_id": ["u", "u"], "item_id": np.array([2**24, 2**31], np.float32)}).to_parquet()
    dataset, _ = make(wide, name="x.parquet", split="ratio", out="wide")
    assert list(dataset.item_ids) == [str(2**24), str(2**31)]
    dataset, report = make('{"user_id": 1, "item_id": 9007199254740993}\n{"user_id": NaN, "item_id": 1}\n',
                           name="x.jsonl", split="ratio", out="b")  # fmt: skip
    assert (list(dataset.user_ids), list(dataset.item_ids)) == (["1"], ["9007199254740993"])
    assert report.problems["empty user id"].count == 1


def test_each_problem_is_counted_with_its_rows(make):
    content = (
        "user_id,item_id,timestamp,rating\n"
        ",i1,1,5\n"  # row 2
        "u1, ,1,5\n"
        "u1,i1,soon,5\n"
        "u1,i1,,5\n"
        "u1,i1,2,good\n"
        "u1,i9,2,3\n"
        "u1,i1,3,1\n"
        "u1,i1,9,2\n"
        "u1,i2,4,\n"
    )
    dataset, report = make(content, "item_id,title\ni1,One\ni2,\n,None\ni1,Again\ni3,Cold\n", duplicates="best")
    problems = {kind: [(row.row, row.value) for row in problem.rows] for kind, problem in report.problems.items()}
    assert problems == {
        "item without id in the items file": [(4, "")],
        "item twice in the items file": [(5, "i1")],
        "empty user id": [(2, "")],
        "empty item id": [(3, " ")],
        "bad timestamp": [(4, "soon"), (5, "")],
        "bad rating": [(6, "good")],
        "unknown item": [(7, "i9")],
        "same user and item again, kept the best rated": [(8, "user u1 item i1")],
    }
    assert pairs(dataset) == {"u1": ["i2", "i1"]}
    assert dataset.histories("train").times.tolist() == [4, 9]
    assert list(dataset.item_ids) == ["i1", "i2", "i3"]
    assert dataset.items["title"].tolist() == ["One", None, "Cold"]
    assert report.item_rows.tolist() == [0, 1, 4]
    assert report.item_file_rows == 5
    assert [step.removed for step in report.steps] == [0, 1, 1, 2, 1, 1, 1]
    assert report.steps[-1].rows == 2
    written = pd.read_csv(make.folder / "out" / "problems.csv", dtype=str, keep_default_na=False)
    assert len(written) == sum(problem.count for problem in report.problems.values()) == 9
    assert json.dumps(report.to_dict())


CELL = st.sampled_from(["", " ", "a", "b", "é", '"q"', "NA"])
ROW = st.tuples(CELL, CELL, st.sampled_from(["", "1", "2", "x", "2020-01-01", "inf"]), st.sampled_from(["", "1", "?"]))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ROW, min_size=1, max_size=25), st.sampled_from(["leave-one-out", "ratio", "time"]), st.integers(0, 2))
def test_every_row_is_kept_or_reported(tmp_path_factory, rows, split, k):
    folder = tmp_path_factory.mktemp("property")
    frame = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp", "rating"])
    frame.to_csv(folder / "x.csv", index=False)
    try:
        report = prepare(PrepareOptions(folder / "x.csv", folder / "out", split=split, k_core=k))
    except DemureError as error:
        assert "\n" not in str(error)  # noqa: PT017
        assert [path.name for path in folder.iterdir()] == ["x.csv"]
        return
    dataset = Dataset.load(folder / "out")
    dropped = sum(problem.count for problem in report.problems.values() if problem.action == "dropped")
    outside = sum(step.removed for step in report.steps if step.step.endswith("-core"))
    assert len(rows) == kept_rows(dataset) + dropped + outside
    assert report.steps[0].rows == len(rows)
    kept = [(user, item) for user, items in pairs(dataset).items() for item in items]
    assert len(kept) == len(set(kept)) == kept_rows(dataset)
    assert set(kept) <= {(user, item) for user, item, _, _ in rows}
    assert len(dataset.histories("train").items) > 0


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("split", ["leave-one-out", "ratio", "time"])
def test_the_same_input_makes_the_same_bytes(make, split):
    for out in ("a", "b"):
        make(csv_of(), "item_id,title\ni1,A\ni2,B\ni3,C\n", split=split, out=out)
    assert contents(make.folder / "a") == contents(make.folder / "b")


def test_the_split_is_part_of_the_identity(make):
    content = "user_id,item_id\n" + "".join(f"u{k % 7},i{k}\n" for k in range(100))
    first, _ = make(content, split="ratio", out="a", seed=0)
    again, _ = make(content, split="ratio", out="b", seed=0)
    other, _ = make(content, split="ratio", out="c", seed=1)
    assert first.identity == again.identity
    assert {name for name, value in other.identity.items() if value != first.identity[name]} == {"split"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_leaves_nothing(make, error):
    path = make.write("x.csv", csv_of())

    def fail(folder, report):
        assert (folder / "dataset.json").is_file()
        raise error

    with pytest.raises(error):
        prepare(PrepareOptions(path, make.folder / "out"), finish=fail)
    assert [path.name for path in make.folder.iterdir()] == ["x.csv"]


def test_finish_adds_to_the_folder(make):
    path = make.write("x.csv", csv_of())
    stages = []
    report = prepare(
        PrepareOptions(path, make.folder / "out"),
        listener=lambda progress: stages.append(progress.stage),
        finish=lambda folder, report: (folder / "more").write_text(str(report.counts["users"])),
    )
    assert (make.folder / "out" / "more").read_text() == "2"
    assert report.item_rows.tolist() == [-1, -1, -1]
    assert stages == ["read", "clean", "filter", "split", "write", "write"]


def test_cold_items_stay_and_what_the_core_removes_goes(make):
    rows = [("u1", "a"), ("u1", "b"), ("u2", "a"), ("u2", "b"), ("u2", "c"), ("u3", "c2")]
    content = csv_of([(*row, k) for k, row in enumerate(rows)])
    dataset, report = make(content, "item_id\ncold\na\nb\nc\nc2\n", k_core=2)
    assert list(dataset.item_ids) == ["cold", "a", "b"]
    assert report.item_rows.tolist() == [0, 1, 2]
    assert report.counts["cold_items"] == 1
    assert pairs(dataset) == {"u1": ["a", "b"], "u2": ["a", "b"]}


def test_overwrite_replaces_datasets_only(make):
    make(csv_of())
    with pytest.raises(DemureError, match=r"already exists.*--overwrite"):
        make(csv_of())
    dataset, _ = make(csv_of(ROWS[:3]), overwrite=True)
    assert dataset.n_users == 1
    (make.folder / "home").mkdir()
    (make.folder / "home" / "letter").write_text("dear")
    with pytest.raises(DemureError, match="is not a dataset folder"):
        make(csv_of(), out="home", overwrite=True)
    assert (make.folder / "home" / "letter").read_text() == "dear"


def test_a_dataset_is_checked_when_loaded(make):
    dataset, _ = make(csv_of())
    with pytest.raises(DemureError, match="unknown split 'tets'"):
        dataset.histories("tets")
    with pytest.raises(DatasetError, match="is not a dataset folder"):
        Dataset.load(make.folder)
    manifest = json.loads((dataset.path / "dataset.json").read_text())
    (dataset.path / "dataset.json").write_text(json.dumps(manifest | {"format_version": 99}))
    with pytest.raises(DatasetError, match="format version 99"):
        Dataset.load(dataset.path)
    (dataset.path / "dataset.json").write_text("{")
    with pytest.raises(DatasetError, match="cannot be read as JSON"):
        Dataset.load(dataset.path)
    (dataset.path / "dataset.json").write_text(json.dumps(manifest))
    with open(dataset.path / "items.parquet", "ab") as handle:
        handle.write(b"x")
    with pytest.raises(DatasetError, match=r"items\.parquet: was changed"):
        Dataset.load(dataset.path)
    (dataset.path / "items.parquet").unlink()
    with pytest.raises(DatasetError, match=r"items\.parquet: is missing"):
        Dataset.load(dataset.path)


def test_real_data(shared_data, tmp_path):
    source = shared_data / "ml-100k-posters"
    report = prepare(PrepareOptions(source / "interactions.csv", tmp_path / "ml", items=source / "items.csv"))
    dataset = Dataset.load(tmp_path / "ml")
    assert (report.counts["users"], report.counts["items"], report.counts["interactions"]) == (943, 1682, 99057)
    assert dataset.text_columns == ["title", "genres", "description"]
    assert (dataset.images_root / dataset.items["image"].dropna().iloc[0]).is_file()
    frame = pd.read_csv(source / "interactions.csv", dtype={"user_id": str, "item_id": str})
    last = frame.sort_values("timestamp", kind="stable").groupby("user_id").tail(1).set_index("user_id")["item_id"]
    assert pairs(dataset, "test") == {user: [last[user]] for user in dataset.user_ids}
