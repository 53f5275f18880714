"""`demure eval` and `demure recommend` over runs whose scores are written by hand."""

import json
import sys
import types
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from demure_cli.app import main

ITEMS = np.array(["a", "b", "c", "d"], dtype=object)
USERS = np.array(["u", "v", "w"], dtype=object)
HISTORY = {"train": {0: [0], 1: [1], 2: [2]}, "valid": {0: [1]}, "test": {0: [2], 1: [0, 3]}}


@dataclass(frozen=True)
class Lists:
    indptr: np.ndarray
    items: np.ndarray


@dataclass(frozen=True)
class HandMadeDataset:
    path: Path = Path("films")
    identity: dict = field(default_factory=lambda: {"split": "x"})
    user_ids: np.ndarray = field(default_factory=lambda: USERS)
    item_ids: np.ndarray = field(default_factory=lambda: ITEMS)
    n_items: int = 4
    items: pd.DataFrame = field(default_factory=lambda: pd.DataFrame({"item_id": ITEMS, "title": list("ABCD")}))
    parts: dict = field(default_factory=lambda: HISTORY)

    def histories(self, *splits):
        lists = [[item for split in splits for item in self.parts[split].get(user, [])] for user in range(len(USERS))]
        return Lists(np.cumsum([0, *map(len, lists)]), np.array([item for items in lists for item in items], int))


@dataclass(frozen=True)
class HandMadeRun:
    scores: list
    dataset: HandMadeDataset = field(default_factory=HandMadeDataset)

    def scorer(self, split):
        return lambda users: np.tile(np.array(self.scores, np.float32), (len(users), 1))

    def recommend(self, users, k):
        rows = [(user, rank, ITEMS[rank], 1.0 / rank, "image") for user in users for rank in range(1, k + 1)]
        return pd.DataFrame(rows, columns=["user_id", "rank", "item_id", "score", "because"])


@pytest.fixture
def runs(monkeypatch):
    """Put runs by name where the commands load them from."""
    made = {"best": HandMadeRun([0, 1, 9, 8]), "worst": HandMadeRun([9, 8, 1, 0])}
    module = types.ModuleType("demure.training.load")
    module.load_run = lambda path, device="auto": made[str(path)]
    monkeypatch.setitem(sys.modules, "demure.training.load", module)
    monkeypatch.setattr("demure.training.judge.read_manifest", made.get)
    return made


def test_json_of_one_run_is_the_interface(capsys, runs):
    assert main(["eval", "best", "--k", "2,1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == ["run", "split", "users", "metrics"]
    assert (told["run"], told["split"], told["users"]) == ("best", "test", 2)
    # u had a and b, finds c first; v had b: c, then d, which is one of its two.
    assert told["metrics"]["recall@1"] == pytest.approx((1 + 0) / 2)
    assert told["metrics"]["recall@2"] == pytest.approx((1 + 1 / 2) / 2)
    assert {name.split("@")[1] for name in told["metrics"]} == {"1", "2"}


def test_valid_does_not_hide_what_valid_holds(capsys, runs):
    assert main(["eval", "worst", "--split", "valid", "--k", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["users"] == 1
    assert told["metrics"]["recall@1"] == 1


def test_table_of_one_run(capsys, runs):
    assert main(["eval", "best"]) == 0
    shown = capsys.readouterr().out
    assert "test, 2 users with something to find" in shown
    assert "ndcg" in shown


def test_several_runs_are_tested_against_each_other(capsys, runs):
    assert main(["eval", "best", "worst", "--k", "1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [run["run"] for run in told["runs"]] == ["best", "worst"]
    assert {pair["metric"] for pair in told["comparison"]["pairs"]} == {"recall@1", "ndcg@1"}
    assert main(["eval", "best", "worst", "--k", "1"]) == 0
    assert "best - worst" in capsys.readouterr().out


def test_per_user(capsys, runs, tmp_path):
    out = tmp_path / "users.parquet"
    assert main(["eval", "best", "--k", "1", "--per-user", str(out)]) == 0
    frame = pd.read_parquet(out)
    assert frame["user_id"].tolist() == ["u", "v"]
    assert frame["recall@1"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["best", "best"], "best: is given twice"),
        (["best", "--split", "train"], "unknown split 'train'"),
        (["best", "other"], "other: was made from other data than best (split differ)"),
        (["untested"], "there is nothing in the split 'test'; use --split valid"),
        (["best", "--per-user", "x.csv"], "Parquet"),
    ],
)
def test_refusals(capsys, runs, arguments, said):
    runs["other"] = HandMadeRun([0, 1, 2, 3], HandMadeDataset(identity={"split": "y"}))
    runs["untested"] = HandMadeRun([0, 1, 2, 3], HandMadeDataset(parts={**HISTORY, "test": {}}))
    assert main(["eval", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wanted", "users"), [(["--all"], ["u", "v", "w"]), (["--user", "v", "--user", "u"], ["v", "u"])]
)
def test_recommend(capsys, runs, tmp_path, wanted, users):
    out = tmp_path / "top.parquet"
    assert main(["recommend", "best", *wanted, "--k", "3", "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 3 * len(users)
    frame = pd.read_parquet(out)
    assert list(frame.columns) == ["user_id", "rank", "item_id", "score", "because"]
    assert frame["user_id"].unique().tolist() == users
    assert frame["rank"].tolist() == [1, 2, 3] * len(users)
    assert main(["recommend", "best", *wanted, "--k", "3", "--out", str(out)]) == 0
    assert "because" in capsys.readouterr().out


def test_recommend_into_another_format_is_refused(capsys, runs, tmp_path):
    assert main(["recommend", "best", "--all", "--out", str(tmp_path / "top.csv")]) == 2
    assert "Parquet" in capsys.readouterr().err
