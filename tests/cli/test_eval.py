"""`demure eval` and `demure recommend` over runs whose scores are written by hand."""

import io
import json
import sys
import types
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from demure.data.histories import Histories
from demure.runs.manifest import DatasetReference, RunManifest
from demure_cli.app import main

ITEMS = np.array(["a", "b", "c", "d"], dtype=object)
USERS = np.array(["u", "v", "w"], dtype=object)
HISTORY = {"train": {0: [0], 1: [1], 2: [2]}, "valid": {0: [1]}, "test": {0: [2], 1: [0, 3]}}


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
        return Histories(np.cumsum([0, *map(len, lists)]), np.array([item for items in lists for item in items], int))


@dataclass(frozen=True)
class HandMadeRun:
    scores: list
    dataset: HandMadeDataset = field(default_factory=HandMadeDataset)
    recipe: str = "by-hand"
    seed: int = 0

    @property
    def manifest(self):
        dataset = DatasetReference(str(self.dataset.path), self.dataset.identity)
        return RunManifest(recipe=self.recipe, seed=self.seed, dataset=dataset)

    def scorer(self, split):
        return lambda users: np.tile(np.array(self.scores, np.float32), (len(users), 1))

    def recommend(self, users, k, only_new=False):
        assert not only_new  # it has no new items
        rows = [(user, rank, ITEMS[rank], 1.0 / rank, "image", "plaid") for user in users for rank in range(1, k + 1)]
        return pd.DataFrame(rows, columns=["user_id", "rank", "item_id", "score", "because", "interest"])


@pytest.fixture
def runs(monkeypatch):
    """Put runs by name where the commands load them from."""
    made = {"best": HandMadeRun([0, 1, 9, 8]), "worst": HandMadeRun([9, 8, 1, 0])}
    module = types.ModuleType("demure.runs.load")
    module.load_run = lambda path, device="auto", fit=None, dataset=None: made[Path(path).name]
    module.load_run_dataset = lambda path: (made[Path(path).name].manifest, made[Path(path).name].dataset)
    monkeypatch.setitem(sys.modules, "demure.runs.load", module)
    monkeypatch.setattr("demure.runs.ranking.read_manifest", lambda path: made[str(path)].manifest)
    return made


def test_json_of_one_run_is_the_interface(capsys, runs):
    assert main(["eval", "best", "--k", "2,1", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert list(output) == ["run", "split", "users", "metrics"]
    assert (output["run"], output["split"], output["users"]) == ("best", "test", 2)
    # u had a and b, finds c first; v had b: c, then d, which is one of its two.
    assert output["metrics"]["recall@1"] == pytest.approx((1 + 0) / 2)
    assert output["metrics"]["recall@2"] == pytest.approx((1 + 1 / 2) / 2)
    assert {name.split("@")[1] for name in output["metrics"]} == {"1", "2"}
    # The lists at 1 are c for u and c for v; c was had by one of the three users.
    assert output["metrics"]["coverage@1"] == 1 / 4
    assert output["metrics"]["arp@1"] == 1


def test_valid_does_not_hide_what_valid_holds(capsys, runs):
    assert main(["eval", "worst", "--split", "valid", "--k", "1", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert output["users"] == 1
    assert output["metrics"]["recall@1"] == 1


def test_table_of_one_run(capsys, runs):
    assert main(["eval", "best"]) == 0
    shown = capsys.readouterr().out
    assert "test, 2 users with relevant items" in shown
    assert "ndcg" in shown


def test_several_runs_are_tested_against_each_other(capsys, runs):
    assert main(["eval", "best", "worst", "--k", "1", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert [run["run"] for run in output["runs"]] == ["best", "worst"]
    assert {pair["metric"] for pair in output["comparison"]["pairs"]} == {"recall@1", "ndcg@1"}
    assert main(["eval", "best", "worst", "--k", "1"]) == 0
    assert "best - worst" in capsys.readouterr().out


def test_per_user(capsys, runs, tmp_path):
    out = tmp_path / "users.parquet"
    assert main(["eval", "best", "--k", "1", "--per-user", str(out)]) == 0
    frame = pd.read_parquet(out)
    assert frame["user_id"].tolist() == ["u", "v"]
    assert frame["recall@1"].tolist() == [1, 0]
    # What slices rest on; d is beyond the one place there is.
    assert frame["history"].tolist() == [2, 1]
    assert [list(items) for items in frame["relevant_items"]] == [["c"], ["a", "d"]]
    assert [list(ranks) for ranks in frame["ranks"]] == [[1], [0, 0]]
    assert frame["relies_on"].isna().all()


def test_per_user_has_the_modality_that_a_user_relies_on(capsys, runs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("best").mkdir()
    reliance = [("u", "image", 0.7), ("u", "text", 0.3), ("w", "image", 0.2), ("w", "text", 0.8)]
    columns = ["user_id", "modality", "reliance"]
    pd.DataFrame(reliance, columns=columns).to_parquet("best/reliance.parquet")
    assert main(["eval", "worst", "best", "--per-user", "users.parquet", "--by", "reliance", "--json"]) == 0
    assert pd.read_parquet("users.parquet")["relies_on"].fillna("").tolist() == ["image", ""] * 2
    parts = json.loads(capsys.readouterr().out)["runs"][0]["slices"]
    assert [(part["slice"], part["users"]) for part in parts] == [("image", 1), ("not diagnosed", 1)]
    assert main(["eval", "worst", "best", "--by", "reliance"]) == 0
    assert "reliance: the modality that the user relies on most, according to best" in capsys.readouterr().out


def test_slices_of_one_run(capsys, runs):
    assert main(["eval", "best", "--k", "1", "--by", "popularity,history", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    parts = {(part["by"], part["slice"]): part for part in output["slices"]}
    # u found c, of the middle like a and b; v found neither a nor d, which nobody had. u had two, v one before.
    assert set(parts) == {("popularity", "middle"), ("popularity", "tail"), ("history", "1-4")}
    assert parts["popularity", "middle"]["metrics"]["recall@1"] == (1 + 0) / 2
    assert parts["popularity", "tail"]["users"] == 1
    interval = parts["history", "1-4"]["intervals"]["recall@1"]
    assert interval["low"] <= interval["value"] == 1 / 2 <= interval["high"]
    assert main(["eval", "best", "--k", "1", "--by", "all"]) == 0
    assert "exposure@1" in capsys.readouterr().out


def test_slices_of_several_runs_differ_from_the_first(capsys, runs, monkeypatch):
    assert main(["eval", "best", "worst", "--k", "1", "--by", "items", "--json"]) == 0
    best, worst = json.loads(capsys.readouterr().out)["runs"]
    warm = [next(part for part in run["slices"] if part["slice"] == "warm") for run in (best, worst)]
    assert warm[0]["differences"] == {}
    # For u, who had a and b, both list c first; of v's a and d, a is warm: worst lists it first, best last.
    assert warm[1]["differences"]["recall@1"]["value"] == ((1 - 1) + (1 - 0)) / 2
    monkeypatch.setenv("COLUMNS", "140")
    assert main(["eval", "best", "worst", "--k", "1", "--by", "items"]) == 0
    assert "difference: in ndcg@1 from the first run" in capsys.readouterr().out


def test_runs_that_differ_in_their_seed_are_one_method(capsys, runs):
    runs["other seed"] = HandMadeRun([0, 1, 8, 9], seed=1)
    runs["worst"] = HandMadeRun([9, 8, 1, 0], recipe="contrary")
    assert main(["eval", "best", "worst", "other seed", "--k", "1", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert [run["run"] for run in output["runs"]] == ["best", "worst", "other seed"]
    assert [method["runs"] for method in output["comparison"]["methods"]] == [["best", "other seed"], ["worst"]]
    assert {(pair["first"], pair["second"]) for pair in output["comparison"]["pairs"]} == {("by-hand", "worst")}
    assert main(["compare", "best", "worst", "other seed", "--k", "1"]) == 0
    shown = capsys.readouterr().out
    assert "over the same users and the seeds" in shown
    assert "by-hand: best, other seed" in shown


def test_seeds_alone_are_compared_with_each_other(capsys, runs):
    runs["other seed"] = HandMadeRun([0, 1, 8, 9], seed=1)
    assert main(["eval", "best", "other seed", "--k", "1", "--json"]) == 0
    pairs = json.loads(capsys.readouterr().out)["comparison"]["pairs"]
    assert {(pair["first"], pair["second"]) for pair in pairs} == {("best", "other seed")}


def test_compare_with_one(capsys, runs):
    assert main(["compare", "best", "worst", "--k", "1,2", "--metrics", "hit", "--against", "worst", "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert (output["split"], output["users"], output["against"]) == ("test", 2, "worst")
    first, second = output["pairs"]
    assert (first["metric"], first["first"], first["second"]) == ("hit@1", "best", "worst")
    # Both find c for u; for v, worst finds a first, and best d second.
    assert (first["difference"], second["difference"]) == ((0 - 1) / 2, (1 - 1) / 2)


@pytest.mark.parametrize("all_pairs", [[], ["--all-pairs"]])
@pytest.mark.parametrize("form", ["table", "markdown", "csv", "latex", "json"])
def test_every_form_of_a_comparison_shows_the_same(capsys, runs, form, all_pairs):
    assert main(["compare", "best", "worst", "--k", "1", "--metrics", "recall", "--format", form, *all_pairs]) == 0
    shown = capsys.readouterr().out
    assert "recall@1" in shown
    assert "best" in shown
    if form == "csv":
        frame = pd.read_csv(io.StringIO(shown))
        assert frame["first_mean" if all_pairs else "mean"].iloc[0] == 1 / 2
    if form == "markdown":
        assert {line.count("|") for line in shown.splitlines()} == {12 - bool(all_pairs)}
    if form == "latex":
        assert shown.startswith("\\begin{tabular}")
        assert "95 \\% interval" in shown


@pytest.mark.parametrize("form", ["markdown", "csv", "latex"])
def test_every_form_of_one_run(capsys, runs, form):
    runs["a_b|c&d"] = runs["best"]
    assert main(["eval", "a_b|c&d", "--k", "1,2", "--by", "items", "--format", form]) == 0
    shown = capsys.readouterr().out
    assert {"markdown": "a_b\\|c&d", "csv": "a_b|c&d", "latex": r"a\_b|c\&d"}[form] in shown
    if form == "csv":
        frame = pd.read_csv(io.StringIO(shown))
        assert frame["k"].tolist() == [1, 2] * 3
        assert frame["slice"].tolist() == ["all", "all", "cold", "cold", "warm", "warm"]
        assert frame["recall"].tolist()[:2] == [1 / 2, 3 / 4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["best"], "nothing to compare: a single run is given"),
        (["best", "other seed"], "nothing to compare: they differ in their seed alone"),
        (["best", "worst", "--metrics", "gini"], "'gini' is one value for all users together"),
        (["best", "worst", "--metrics", "recal"], "'recal' is not a metric of a user"),
        (["best", "worst", "--metrics", "ild-audio"], "no ild-audio@20 for best, worst"),
        (["best", "worst", "--test", "z"], "unknown test 'z'; use t, wilcoxon, permutation"),
        (["best", "worst", "--against", "x"], "no run 'x'; one of best, worst"),
        (["best", "worst", "--format", "xls"], "unknown format 'xls'; use one of table, markdown, csv"),
        (["best", "worst", "--k", "0"], "'0' is not a whole number above zero"),
        (["best", "other"], "other: was made from other data than best (split differ)"),
    ],
)
def test_compare_refuses(capsys, runs, arguments, message):
    runs["worst"] = HandMadeRun([9, 8, 1, 0], recipe="contrary")
    runs["other seed"] = HandMadeRun([0, 1, 8, 9], seed=1)
    runs["other"] = HandMadeRun([0, 1, 2, 3], HandMadeDataset(identity={"split": "y"}))
    assert main(["compare", *arguments]) == 2
    output = capsys.readouterr()
    assert message in output.err
    assert output.out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["best", "best"], "best: is given twice"),
        (["best", "--split", "train"], "unknown split 'train'"),
        (["best", "other"], "other: was made from other data than best (split differ)"),
        (["untested"], "there is nothing in the split 'test'; use --split valid"),
        (["best", "--per-user", "x.csv"], "Parquet"),
        (["best", "--by", "popularty"], "unknown slicing 'popularty'; did you mean popularity?"),
        (["best", "--by", "reliance"], "none of the runs has a diagnosis"),
        (["best", "--by", "modalities"], "the dataset has no features"),
    ],
)
def test_refusals(capsys, runs, arguments, message):
    runs["other"] = HandMadeRun([0, 1, 2, 3], HandMadeDataset(identity={"split": "y"}))
    runs["untested"] = HandMadeRun([0, 1, 2, 3], HandMadeDataset(parts={**HISTORY, "test": {}}))
    assert main(["eval", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wanted", "users"), [(["--all"], ["u", "v", "w"]), (["--user", "v", "--user", "u"], ["v", "u"])]
)
def test_recommend(capsys, runs, tmp_path, monkeypatch, wanted, users):
    monkeypatch.setattr("demure.runs.manifest.read_manifest", lambda folder: RunManifest())
    out = tmp_path / "top.parquet"
    assert main(["recommend", "best", *wanted, "--k", "3", "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 3 * len(users)
    frame = pd.read_parquet(out)
    assert list(frame.columns) == ["user_id", "rank", "item_id", "score", "because", "interest"]
    assert frame["user_id"].unique().tolist() == users
    assert frame["rank"].tolist() == [1, 2, 3] * len(users)
    assert main(["recommend", "best", *wanted, "--k", "3", "--out", str(out)]) == 0
    assert "because" in capsys.readouterr().out


def test_recommend_into_another_format_is_refused(capsys, runs, tmp_path):
    assert main(["recommend", "best", "--all", "--out", str(tmp_path / "top.csv")]) == 2
    assert "Parquet" in capsys.readouterr().err
