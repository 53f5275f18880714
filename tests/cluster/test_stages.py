"""Every stage gives the same through workers as in one process."""

import filecmp
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from support.executors import PickledExecutor
from support.manifests import record
from support.small_sets import QUICK

from demure import integrity
from demure.cluster.worker import Worker
from demure.data.dataset import Dataset
from demure.diagnosis import history_export, suggest_many
from demure.diagnosis.export import export
from demure.diagnosis.history import diagnose_histories
from demure.diagnosis.history_export import export_histories
from demure.diagnosis.reader import EXPORT_COLUMNS, DiagnosisReader
from demure.errors import DemureError
from demure.evaluation.ranking import Evaluation
from demure.extraction.extract import extract
from demure.files import sha256_file
from demure.progress import silent
from demure.report import user_bodies
from demure.report.build import report
from demure.runs import ranking
from demure.runs import recommend as recommending
from demure.runs.evaluate import evaluate_runs
from demure.runs.load import load_run
from demure.runs.recommend import recommend
from demure.training.on_cluster import train_on


@pytest.fixture(scope="module")
def pop_run(timed, tmp_path_factory):
    from demure.training.run import train

    out = tmp_path_factory.mktemp("pop") / "run"
    train(timed, out, recipe="popularity", device="cpu")
    return out


def test_recommend(run, tmp_path, monkeypatch):
    monkeypatch.setattr(recommending, "_USERS_AT_ONCE", 7)
    executor = PickledExecutor(3)
    local = recommend(run, tmp_path / "local.parquet", k=5)
    remote = recommend(run, tmp_path / "remote.parquet", k=5, executor=executor)
    assert executor.parts > 3
    assert filecmp.cmp(local.written, remote.written, shallow=False)
    assert (local.users, local.rows) == (remote.users, remote.rows)
    assert local.preview.equals(remote.preview)


def test_workers_hash_no_file_that_the_command_has_hashed(run, tmp_path, monkeypatch):
    """Each worker as in a process of its own, which has hashed nothing."""
    monkeypatch.setattr(integrity, "_SETTLED", -1.0)
    do, hashes, names = Worker.work, {}, []

    def work(worker, sent, part):
        with pytest.MonkeyPatch.context() as process:
            process.setattr(integrity, "_checked", hashes.setdefault(worker, {}))
            process.setattr(integrity, "sha256_file", lambda path: names.append(path.name) or sha256_file(path))
            return do(worker, sent, part)

    monkeypatch.setattr(Worker, "work", work)
    executor = PickledExecutor(2)
    evaluate_runs([run], split="valid", executor=executor)
    recommend(run, tmp_path / "top.parquet", executor=executor)
    report(run, tmp_path / "page.html", executor=executor)
    assert len(hashes) > 4
    assert names == []


@pytest.mark.parametrize("relative", [False, True])
def test_recommend_by_histories(run, tmp_path, monkeypatch, relative):
    monkeypatch.setattr(recommending, "_USERS_AT_ONCE", 2)
    history = tmp_path / "later.csv"
    history.write_text("user_id,item_id,timestamp\n" + "".join(f"n{k % 5},i{k},{k}\n" for k in range(25)))
    if relative:
        monkeypatch.chdir(run.parent)
        run = run.relative_to(run.parent)
    local = recommend(run, tmp_path / "local.parquet", history=history, k=5)
    remote = recommend(run, tmp_path / "remote.parquet", history=history, k=5, executor=PickledExecutor())
    assert filecmp.cmp(local.written, remote.written, shallow=False)
    assert local.notes == remote.notes


def test_eval(run, pop_run, tmp_path, monkeypatch):
    monkeypatch.setattr(ranking, "users_at_once", lambda _: 8)
    executor = PickledExecutor(3)
    runs = [run, pop_run]
    local = evaluate_runs(runs, by=["all"], per_user=tmp_path / "local.parquet")
    remote = evaluate_runs(runs, by=["all"], per_user=tmp_path / "remote.parquet", executor=executor)
    assert executor.tasks == 5  # the users of each item; and of each run what its fit sums, and the users
    assert executor.parts > 4
    assert filecmp.cmp(tmp_path / "local.parquet", tmp_path / "remote.parquet", shallow=False)
    first, second = (json.dumps(result.to_dict(), default=str) for result in (local, remote))
    assert first == second
    assert "coverage@20" in local.runs[0].metrics


def test_parts_of_an_evaluation_are_merged(run):
    task = ranking.RankTask(run, "test", (1, 5), "cpu")
    users = task.data.users
    whole = task.work(users, silent)
    parts = Evaluation.merge([task.work(users[start : start + 10], silent) for start in range(0, len(users), 10)])
    assert np.array_equal(parts.users, whole.users)
    assert parts.overall == whole.overall
    assert all(np.array_equal(parts.list_counts[k], whole.list_counts[k]) for k in (1, 5))
    for merged, expected in zip(vars(parts.relevant_ranks).values(), vars(whole.relevant_ranks).values(), strict=True):
        assert np.array_equal(merged, expected)
    for name, values in whole.per_user.items():
        assert np.array_equal(parts.per_user[name], values, equal_nan=True), name


def features_of(dataset):
    """Return path -> bytes of the feature files of a dataset."""
    files = (dataset / "features").rglob("*")
    return {str(path.relative_to(dataset)): path.read_bytes() for path in files if path.is_file()}


def test_extract(catalogue, tmp_path):
    """The vectors of the catalogue were made in one process."""
    dataset = shutil.copytree(catalogue, tmp_path / "dataset")
    shutil.rmtree(dataset / "features")
    executor = PickledExecutor(3)
    encoders = {"text": "tfidf", "image": "color", "attributes": "price"}
    report = extract(dataset, **encoders, executor=executor)
    assert executor.parts == 3
    assert features_of(dataset) == features_of(catalogue)
    assert [(part.name, part.kept, part.encoded, part.resumed) for part in report.modalities] == [
        (part.name, None, part.distinct, 0) for part in report.modalities
    ]
    assert {part.folder for part in report.modalities} == {
        dataset / "features" / name for name in ("text", "image", "attributes")
    }
    again = extract(dataset, **encoders, executor=executor)
    assert [part.kept for part in again.modalities] == ["up to date"] * 3


def test_workers_cannot_all_start_over(catalogue):
    with pytest.raises(DemureError, match="--no-resume: 3 processes cannot all start over"):
        extract(catalogue, resume=False, executor=PickledExecutor(3))


def test_the_export(run, tmp_path):
    """A diagnosis of several row groups is exported in its order, in rows that do not depend on who read them."""
    grouped = shutil.copytree(run, tmp_path / "run")
    rows = pq.read_table(run / "diagnosis.parquet")
    pq.write_table(rows, grouped / "diagnosis.parquet", row_group_size=-(-rows.num_rows // 3))
    record(grouped / "run.json")
    executor = PickledExecutor(2)
    local = export(grouped, tmp_path / "local.parquet")
    remote = export(grouped, tmp_path / "remote.parquet", executor=executor)
    assert executor.parts == 3
    assert filecmp.cmp(local.export, remote.export, shallow=False)
    assert pq.read_table(local.export).equals(rows.select(list(EXPORT_COLUMNS)))
    assert local.rows == remote.rows == rows.num_rows


def test_the_export_of_histories(run, tmp_path, monkeypatch):
    history = tmp_path / "later.csv"
    dataset = Dataset.load(DiagnosisReader.open(run).dataset)
    own = dataset.histories("train").slice_users(0, 1)
    choices = zip(own.items, own.times, strict=True)
    same = [f"{dataset.user_ids[0]},{dataset.item_ids[item]},{time:.0f}" for item, time in choices]
    new = [f"n{k % 5},i{k},{k}" for k in range(25)]
    history.write_text("\n".join(["user_id,item_id,timestamp", *same, *new]) + "\n")
    whole = diagnose_histories(run, history, device="cpu")
    monkeypatch.setattr(history_export, "_USERS_AT_ONCE", 2)
    executor = PickledExecutor(2)
    local = export_histories(run, history, tmp_path / "local.parquet", device="cpu")
    remote = export_histories(run, history, tmp_path / "remote.parquet", device="cpu", executor=executor)
    assert executor.parts == 3
    assert filecmp.cmp(local.export, remote.export, shallow=False)
    assert local.notes == remote.notes == whole.notes
    assert "1 of 6 users have the history that the training had" in " ".join(local.notes)
    frame = pd.read_parquet(local.export)
    expected = whole.tables["diagnosis.parquet"].to_pandas()[frame.columns]
    pd.testing.assert_frame_equal(frame, expected, atol=1e-5)


def test_report(run, tmp_path, monkeypatch):
    monkeypatch.setattr(user_bodies, "_USERS_AT_ONCE", 7)
    monkeypatch.setattr(suggest_many, "_USERS_AT_ONCE", 7)
    monkeypatch.setattr(suggest_many, "_PAST_ITEMS_AT_ONCE", 5)
    executor = PickledExecutor(3)
    local = report(run, tmp_path / "local.html")
    remote = report(run, tmp_path / "remote.html", executor=executor)
    assert executor.tasks == 4  # histories, what the fit sums, lists, past items
    assert executor.parts > 15
    assert filecmp.cmp(tmp_path / "local.html", tmp_path / "remote.html", shallow=False)
    assert replace(remote, report="") == replace(local, report="")


def test_train(timed, run, tmp_path, monkeypatch):
    """The worker trains with the environment of a launcher, and keeps none of it."""
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.chdir(tmp_path)
    report = train_on(PickledExecutor(1), timed, Path("here"), overrides=QUICK, device="cpu")
    assert report.run == "here"
    assert (tmp_path / "here" / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    assert "MASTER_ADDR" not in os.environ
    assert os.environ["RANK"] == "0"


def test_train_with_the_verdicts_of_a_relative_path(timed, run, tmp_path, monkeypatch):
    from demure.training import tracked

    monkeypatch.chdir(run.parent)
    real, recipes = tracked.train_tracked, []

    def elsewhere(*arguments, **options):  # as a worker, whose folder is another one
        recipes.append(options["overrides"])
        with monkeypatch.context() as patched:
            patched.chdir(tmp_path)
            return real(*arguments, **options)

    monkeypatch.setattr(tracked, "train_tracked", elsewhere)
    overrides = [f"denoise={run.name}", "baseline.epochs=1", "baseline.dim=4"]
    train_on(PickledExecutor(1), timed, tmp_path / "out", recipe="vbpr", overrides=overrides, device="cpu")
    assert load_run(tmp_path / "out").manifest.denoise["run"] == str(run)
    assert recipes == [[*overrides, f'denoise="{run}"']]
