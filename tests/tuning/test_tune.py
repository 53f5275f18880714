"""The search: no worse than its start, the same after a kill, blind to the test split, cut short by validation."""

import csv
import json
import os
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from support.processes import wait_until
from support.small_sets import QUICK, SMALL, dataset_folder

from demure.data.dataset import Dataset
from demure.demo.planted import plant
from demure.errors import DemureError, RecipeError, RunError
from demure.preparation.prepare import PrepareOptions, prepare
from demure.progress import ValidatedEpoch
from demure.recipe.load import load_recipe
from demure.training.run import train
from demure.tuning.tune import tune

BPR = ("baseline.epochs=6", "baseline.every=1", "baseline.dim=16")
FAST = {"recipe": "bpr", "overrides": BPR, "device": "cpu"}


def values(report):
    return [(trial.number, trial.state, trial.value, tuple(trial.params.items())) for trial in report.trials]


@pytest.fixture(scope="module")
def study(timed, tmp_path_factory):
    """Eight trials of a small BPR."""
    out = tmp_path_factory.mktemp("studies") / "study"
    return tune(timed, out, trials=8, **FAST)


def test_the_first_trial_is_the_recipe_and_the_best_no_worse(study, timed, tmp_path):
    plain = train(timed, tmp_path / "run", recipe="bpr", overrides=BPR, device="cpu")
    assert study.trials[0].value == plain.valid["recall@20"]
    assert (
        study.best.value
        == max(trial.value for trial in study.trials if trial.value is not None)
        >= study.trials[0].value
    )
    assert [trial.number for trial in study.trials] == list(range(8))
    assert study.left == 0


def test_the_best_recipe_trains_to_its_value(study, timed, tmp_path):
    recipe = load_recipe(study.written)
    assert recipe.name == "bpr-tuned"
    assert recipe.baseline["epochs"] == 6
    assert {key: recipe.baseline[key.removeprefix("baseline.")] for key in study.best.params} == study.best.params
    again = train(timed, tmp_path / "run", recipe=study.written, device="cpu")
    assert again.valid["recall@20"] == study.best.value


def test_what_the_folder_holds(study):
    out = study.written.rpartition("/")[0]
    rows = list(csv.DictReader(Path(out, "trials.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["state"] for row in rows] == [trial.state for trial in study.trials]
    assert float(rows[0]["value"]) == study.trials[0].value
    page = Path(study.page).read_text(encoding="utf-8")
    assert "Hyperparameter Importances" in page
    assert not re.search(r'<(script|link|img|iframe)\b[^>]*\b(src|href)="http', page)
    assert sum(study.importance.values()) == pytest.approx(1)
    assert set(study.importance) == set(study.space) == {"baseline.learning_rate", "baseline.regularisation"}
    assert os.listdir(f"{out}/trials") == []


def test_the_same_seed_finds_the_same(study, timed, tmp_path):
    again = tune(timed, tmp_path / "again", trials=8, **FAST)
    assert values(again) == values(study)
    other = tune(timed, tmp_path / "other", trials=3, seed=1, **FAST)
    assert values(other)[1:] != values(study)[1:3]


def test_a_study_that_goes_on_is_the_study_that_was_not_stopped(study, timed, tmp_path):
    """Stopped between trials, and in the middle of the third at its fourth epoch."""
    out = tmp_path / "study"
    assert values(tune(timed, out, trials=2, **FAST)) == values(study)[:2]
    progress_fields = []

    def cut_off(progress):
        progress_fields.append(progress.fields)
        if progress.fields.get("trial") == 2 and progress.fields.get("epoch") == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(timed, out, trials=8, listener=cut_off, **FAST)
    assert (out / "trials" / "0002" / "run-0" / "checkpoint.safetensors").is_file()
    resumed = []
    report = tune(timed, out, trials=8, listener=lambda p: resumed.append(p.fields), **FAST)
    assert resumed[0]["trial"] == 2
    assert resumed[0]["epoch"] == 5
    assert values(report) == values(study)
    assert values(tune(timed, out, trials=8, **FAST)) == values(study)


def test_a_killed_study_goes_on(study, timed, tmp_path, start_python):
    out = tmp_path / "study"
    code = (
        "import sys; from pathlib import Path; from demure.tuning.tune import tune; "
        f"tune(Path({str(timed)!r}), Path({str(out)!r}), trials=8, recipe='bpr', overrides={BPR!r}, device='cpu')"
    )
    process = start_python("-c", code, stderr=subprocess.DEVNULL)
    wait_until((out / "trials" / "0001").exists, process)
    process.kill()
    process.wait()
    assert values(tune(timed, out, trials=8, **FAST)) == values(study)


def test_the_test_split_is_never_read(tmp_path, monkeypatch):
    """Neither asked for, nor does anything change where it is another, or not there."""
    histories = Dataset.histories
    asked = []

    def histories_of(self, *splits):
        asked.extend(splits)
        assert "test" not in splits
        return histories(self, *splits)

    raw = tmp_path / "raw"
    plant(SMALL).write(raw)
    rows = pd.read_csv(raw / "interactions.csv").sort_values(["user_id", "timestamp"], kind="stable")
    last = rows.groupby("user_id").cumcount(ascending=False)
    rows["split"] = np.select([last == 0, last == 1], ["test", "valid"], "train")
    other = rows.copy()
    for user, had in rows.groupby("user_id")["item_id"]:  # an item the user has nowhere else: pairs are merged
        new = sorted(set(rows["item_id"]) - set(had))[0]
        other.loc[(other["user_id"] == user) & (other["split"] == "test"), "item_id"] = new
    results = []
    for name, frame in {"as it is": rows, "shuffled": other, "absent": rows[rows["split"] != "test"]}.items():
        (tmp_path / name).mkdir()
        frame.to_csv(tmp_path / name / "interactions.csv", index=False)
        options = PrepareOptions(
            tmp_path / name / "interactions.csv",
            tmp_path / name / "data",
            items=raw / "items.csv",
            split="given",
        )
        prepare(options)
        with monkeypatch.context() as patch:
            patch.setattr(Dataset, "histories", histories_of)
            results.append(values(tune(tmp_path / name / "data", tmp_path / name / "study", trials=3, **FAST)))
    assert results[0] == results[1] == results[2]
    assert set(asked) == {"train", "valid"}


@pytest.fixture
def dictated(monkeypatch):
    """A training whose validation rises by its learning rate in each of 12 epochs, each ``seconds`` of a fake clock."""
    clock = [0.0]

    def use(seconds=0.0):
        def trained(dataset, run, *, recipe, listener, **_):
            rate = load_recipe(recipe).baseline["learning_rate"]
            for epoch in range(1, 13):
                clock[0] += seconds
                value = rate * epoch
                listener(ValidatedEpoch("validate", epoch, None, {"recall@20": value}, "recall@20", value, epoch))
            return SimpleNamespace(valid={"recall@20": rate * 12}, epochs=12)

        monkeypatch.setattr("demure.tuning.tune.train", trained)
        monkeypatch.setattr("demure.tuning.tune.time", SimpleNamespace(monotonic=lambda: clock[0]))

    return use


def test_a_bad_trial_is_stopped_early(timed, tmp_path, dictated):
    """Never one of the first four, nor before the fifth validation, which is epoch 10; never the best."""
    dictated()
    report = tune(timed, tmp_path / "study", recipe="bpr", trials=20)
    pruned = [trial for trial in report.trials if trial.state == "pruned"]
    assert pruned
    assert all(trial.value is None for trial in pruned)
    rates = {trial.number: trial.params["baseline.learning_rate"] for trial in report.trials}
    assert min(trial.number for trial in pruned) >= 4
    for trial in pruned:
        finished = [rates[k.number] for k in report.trials[: trial.number] if k.state == "complete"]
        assert rates[trial.number] < np.median(finished)
    assert report.best.params["baseline.learning_rate"] == max(rates.values())
    whole = tune(timed, tmp_path / "whole", recipe="bpr", trials=12, pruning=False)
    assert {trial.state for trial in whole.trials} == {"complete"}


def test_several_seeds_are_averaged(timed, tmp_path):
    report = tune(timed, tmp_path / "study", trials=2, seeds=2, seed=3, **FAST)
    assert report.seeds == [3, 4]
    alone = [train(timed, tmp_path / f"{s}", recipe="bpr", overrides=BPR, seed=s, device="cpu") for s in (3, 4)]
    assert report.trials[0].value == pytest.approx(np.mean([trial.valid["recall@20"] for trial in alone]))


def test_demure_itself_is_tuned(timed, tmp_path):
    report = tune(timed, tmp_path / "study", overrides=QUICK, trials=3, device="cpu", metric="ndcg@20")
    assert report.best.value >= report.trials[0].value
    assert set(report.trials[0].params) >= {"denoiser.clusters", "training.cluster_rate"}
    assert report.trials[0].params["denoiser.clusters"] == 20


def test_a_trial_that_fails_does_not_end_the_study(timed, tmp_path, monkeypatch):
    calls = []

    def failing(*args, **options):
        calls.append(1)
        if len(calls) == 2:
            raise RunError("the loss is nan in epoch 2")
        return train(*args, **options)

    monkeypatch.setattr("demure.tuning.tune.train", failing)
    report = tune(timed, tmp_path / "study", trials=3, **FAST)
    assert [trial.state for trial in report.trials] == ["complete", "failed", "complete"]
    assert report.trials[1].error == "the loss is nan in epoch 2"


def test_where_the_recipe_itself_fails_nothing_is_left(tmp_path):
    untimed = dataset_folder(tmp_path / "set", timed=False)
    with pytest.raises(DemureError, match="no timestamps"):
        tune(untimed, tmp_path / "study", recipe="sasrec", trials=2, device="cpu")
    assert not (tmp_path / "study").exists()


def test_time_is_up(timed, tmp_path, dictated):
    """The trial in hand is left, and goes on."""
    dictated(1.0)
    report = tune(timed, tmp_path / "study", recipe="bpr", trials=50, pruning=False, timeout=40)
    assert len(report.trials) == 3  # of 12 seconds each
    assert report.left == 47
    assert len(list((tmp_path / "study" / "trials").iterdir())) == 1
    with pytest.raises(RunError, match="no trial has finished"):
        tune(timed, tmp_path / "short", recipe="bpr", trials=2, timeout=1e-6)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"recipe": "lightgcn", "overrides": ("baseline.epochs=6",)}, "is a study of another recipe, space"),
        ({"overrides": ("baseline.epochs=7",)}, "is a study of another recipe"),
        ({"seed": 1}, "is a study of another seed"),
        ({"metric": "ndcg@20"}, "is a study of another metric"),
    ],
)
def test_a_study_of_something_else_is_refused(study, timed, tmp_path, changed, message):
    out = study.written.rpartition("/")[0]
    before = Path(out, "study.db").read_bytes()
    with pytest.raises(RunError, match=message):
        tune(timed, Path(out), trials=9, **{**FAST, **changed})
    assert Path(out, "study.db").read_bytes() == before


def test_a_study_of_another_dataset_or_damaged_is_refused(timed, tmp_path):
    other = dataset_folder(tmp_path / "set", timed=False)
    tune(timed, tmp_path / "study", trials=1, **FAST)
    with pytest.raises(RunError, match="is a study of another dataset"):
        tune(other, tmp_path / "study", trials=2, **FAST)
    stored = json.loads((tmp_path / "study" / "study.json").read_text())
    for dataset in (None, [], "x"):
        (tmp_path / "study" / "study.json").write_text(json.dumps({**stored, "dataset": dataset}))
        with pytest.raises(RunError, match="is a study of another dataset"):
            tune(timed, tmp_path / "study", trials=2, **FAST)
    (tmp_path / "study" / "study.json").write_text(json.dumps(stored))
    (tmp_path / "study" / "study.db").write_bytes(b"no database at all" * 99)
    with pytest.raises(RunError, match=r"study\.db: cannot be read"):
        tune(timed, tmp_path / "study", trials=2, **FAST)
    assert tune(timed, tmp_path / "study", trials=1, overwrite=True, **FAST).left == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"trials": 0}, "--trials: is 0; give 1 or more"),
        ({"seeds": 0}, "--seeds: is 0"),
        ({"timeout": -1.0}, "--timeout: is -1"),
        ({"metric": "recall@10"}, "unknown metric 'recall@10'; one of recall@20"),
        ({"recipe": "bprr"}, "no recipe 'bprr'; did you mean bpr"),
        ({"recipe": "popularity", "overrides": ()}, "holds nothing to search"),
    ],
)
def test_what_is_refused_leaves_nothing(timed, tmp_path, changed, message):
    with pytest.raises(DemureError, match=message.replace("?", r"\?")):
        tune(timed, tmp_path / "study", **{**FAST, **changed})
    assert list(tmp_path.iterdir()) == []


def test_an_overwritten_study_stays_until_the_new_one_has_its_best_recipe(timed, tmp_path):
    class CutOff(Exception):
        pass

    def cut_off(progress):
        raise CutOff

    out = tmp_path / "study"
    tune(timed, out, trials=1, **FAST)
    best = (out / "best.yaml").read_bytes()
    with pytest.raises(CutOff):
        tune(timed, out, trials=1, seed=3, overwrite=True, listener=cut_off, **FAST)
    assert (out / "best.yaml").read_bytes() == best
    with pytest.raises(RunError, match="is a study of another seed"):
        tune(timed, out, trials=1, **FAST)
    report = tune(timed, out, trials=1, seed=3, **FAST)  # goes on with the new one
    assert (report.study, report.seeds) == (str(out), [3])
    assert Path(report.page).is_file()
    assert Path(report.written).is_file()
    assert not (out / "unfinished").exists()
    assert json.loads((out / "study.json").read_text())["seed"] == 3
    assert tune(timed, out, trials=1, seed=3, **FAST).best == report.best
    assert [path.name for path in tmp_path.iterdir()] == ["study"]


def test_a_folder_of_something_else_stays(timed, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(DemureError):
            tune(timed, tmp_path / "mine", trials=1, overwrite=overwrite, **FAST)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_without_validation_there_is_nothing_to_tune_by(tmp_path):
    plant(SMALL).write(tmp_path / "raw")
    rows = pd.read_csv(tmp_path / "raw" / "interactions.csv").assign(split="train")
    rows.to_csv(tmp_path / "raw" / "interactions.csv", index=False)
    options = PrepareOptions(
        tmp_path / "raw" / "interactions.csv", tmp_path / "data", items=tmp_path / "raw" / "items.csv", split="given"
    )
    prepare(options)
    with pytest.raises(DemureError, match="has no validation split to tune on"):
        tune(tmp_path / "data", tmp_path / "study", trials=1, **FAST)


def test_the_command(timed, tmp_path, capsys, monkeypatch):
    from demure_cli.app import main

    sets = [part for override in BPR for part in ("--set", override)]
    arguments = ["tune", str(timed), "--recipe", "bpr", *sets, "--device", "cpu", "--trials", "5"]
    arguments += ["--out", str(tmp_path / "study")]
    assert main([*arguments, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["best"]["value"] >= printed["trials"][0]["value"]
    for width in (80, 160):
        monkeypatch.setenv("COLUMNS", str(width))
        assert main(arguments) == 0
        shown = capsys.readouterr().out
        assert "with the unchanged recipe (trial 0)" in " ".join(shown.split())
        assert max(map(len, shown.splitlines())) <= width
    assert main([*arguments, "--seed", "5"]) == 2
    assert "is a study of another seed" in capsys.readouterr().err
    assert main(["tune", str(tmp_path / "nowhere"), "--trials", "1"]) == 2
    assert "is not a dataset folder" in capsys.readouterr().err


def test_a_recipe_error_is_one(timed, tmp_path):
    with pytest.raises(RecipeError, match="did you mean epochs"):
        tune(timed, tmp_path / "study", recipe="bpr", overrides=("training.epoch=3",))
