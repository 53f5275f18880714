"""Stages on a Ray cluster on this machine: the same results, also when a worker is killed in the middle."""

import contextlib
import filecmp
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.manifests import with_walk
from support.processes import wait_until
from support.small_catalogue import catalogue
from support.small_sets import QUICK

from demure.cluster.choose import open_executor
from demure.cluster.executor import Task
from demure.data import user_sums
from demure.diagnosis import suggest_many
from demure.diagnosis.export import export
from demure.errors import MachineError
from demure.extraction.extract import extract
from demure.report.build import report
from demure.runs import ranking
from demure.runs import recommend as recommending
from demure.runs.evaluate import evaluate_runs
from demure.runs.folder import CHECKPOINT
from demure.runs.recommend import recommend
from demure.training.on_cluster import train_on
from demure.training.run import train

pytestmark = pytest.mark.ray
ray = pytest.importorskip("ray", reason="ray is not installed: make test-ray")
result_of = pytest.importorskip("demure.cluster.ray_executor").result_of


def test_a_cluster_of_two_machines(second_machine, run, tmp_path, monkeypatch):
    """One of the two is lost for good. The first test: see ``second_machine``."""
    monkeypatch.setattr(recommending, "_USERS_AT_ONCE", 3)
    run = with_walk(run, tmp_path / "run", nearness=1.0, linear=0.5)  # the workers share counts and a linear model
    local = recommend(run, tmp_path / "local.parquet", k=5)
    with open_executor("ray", device="cpu") as executor:
        assert (executor.workers, executor.cores) == (2, 1)
        remote = recommend(run, tmp_path / "remote.parquet", k=5, executor=executor)
    assert filecmp.cmp(local.written, remote.written, shallow=False)
    with pytest.raises(MachineError, match="the cluster has no GPU"), open_executor("ray", device="cuda"):
        pass

    killed = []

    def lose_a_machine(progress):
        if progress.stage == "recommend" and not killed:
            killed.append(second_machine.all_processes["raylet"][0].process.pid)
            os.kill(killed[0], signal.SIGKILL)

    with open_executor("ray", device="cpu") as executor:
        remote = recommend(run, tmp_path / "rest.parquet", k=5, executor=executor, listener=lose_a_machine)
    assert killed
    assert filecmp.cmp(local.written, remote.written, shallow=False)


class KillOnce:
    """A listener that kills a worker at the first report of ``stage``."""

    def __init__(self, executor, stage):
        self.executor, self.stage, self.killed = executor, stage, None

    def __call__(self, progress):
        if progress.stage == self.stage and self.killed is None:
            self.killed = ray.get(self.executor._actors[0].ready.remote())
            os.kill(self.killed, signal.SIGKILL)


def test_recommend_with_a_killed_worker(executor, run, tmp_path, monkeypatch):
    monkeypatch.setattr(recommending, "_USERS_AT_ONCE", 3)
    local = recommend(run, tmp_path / "local.parquet", k=5)
    listener = KillOnce(executor, "recommend")
    remote = recommend(run, tmp_path / "remote.parquet", k=5, executor=executor, listener=listener)
    assert listener.killed is not None
    assert filecmp.cmp(local.written, remote.written, shallow=False)
    assert ray.get(executor._actors[0].ready.remote()) != listener.killed


def test_eval(executor, run, tmp_path, monkeypatch):
    monkeypatch.setattr(ranking, "users_at_once", lambda _: 8)
    local = evaluate_runs([run], by=["all"], per_user=tmp_path / "local.parquet")
    remote = evaluate_runs([run], by=["all"], per_user=tmp_path / "remote.parquet", executor=executor)
    assert filecmp.cmp(tmp_path / "local.parquet", tmp_path / "remote.parquet", shallow=False)
    assert local.runs[0].metrics == pytest.approx(remote.runs[0].metrics, nan_ok=True, rel=1e-12)


@pytest.mark.parametrize("nearness", [1.0, 0.0])
def test_lists_from_sums_of_workers(executor, run, tmp_path, monkeypatch, nearness):
    """The counts are summed by the workers, and the linear model is fitted once; ``executor`` has three workers."""
    monkeypatch.setattr(user_sums, "INTERACTIONS_AT_ONCE", 100)
    monkeypatch.setattr(recommending, "_USERS_AT_ONCE", 7)
    folder = with_walk(run, tmp_path / "run", nearness=nearness, linear=0.5)
    local = recommend(folder, tmp_path / "local.parquet", k=5)
    remote = recommend(folder, tmp_path / "remote.parquet", k=5, executor=executor)
    assert filecmp.cmp(local.written, remote.written, shallow=False)


@pytest.mark.parametrize("recipe", ["ease", "item-knn-decayed"])
def test_baselines_from_sums_of_workers(executor, timed, tmp_path, monkeypatch, recipe):
    monkeypatch.setattr(user_sums, "INTERACTIONS_AT_ONCE", 100)
    train(timed, tmp_path / "run", recipe=recipe, device="cpu")
    evaluate_runs([tmp_path / "run"], per_user=tmp_path / "local.parquet")
    evaluate_runs([tmp_path / "run"], per_user=tmp_path / "remote.parquet", executor=executor)
    assert filecmp.cmp(tmp_path / "local.parquet", tmp_path / "remote.parquet", shallow=False)


def test_a_large_field_is_one_copy_that_is_not_written_to(executor):
    """Of a task that comes again, too: its reference in the object store is the same."""

    @dataclass(frozen=True)
    class Reads(Task[int, tuple]):
        values: np.ndarray

        def work(self, part, listener):
            return self.values[part], self.values.flags.writeable

    task = Reads(np.arange(1_000_000))
    assert list(executor.map(task, [5, 7])) == [(5, False), (7, False)]
    assert executor._send(task) == executor._send(task)


def test_an_error_of_a_worker_is_the_error_of_one_process(executor, run, tmp_path):
    with pytest.raises(ValueError, match="no user 'nobody' in the dataset of this run") as local:
        recommend(run, tmp_path / "top.parquet", users=["nobody"])
    with pytest.raises(type(local.value)) as remote:
        recommend(run, tmp_path / "top.parquet", users=["nobody"], executor=executor)
    assert str(remote.value).split("; ")[1:] == str(local.value).split("; ")[1:]
    assert list(tmp_path.iterdir()) == []


def test_report_with_a_killed_worker(executor, run, tmp_path, monkeypatch):
    monkeypatch.setattr(suggest_many, "_USERS_AT_ONCE", 3)
    report(run, tmp_path / "local.html")
    listener = KillOnce(executor, "recommend")
    report(run, tmp_path / "remote.html", executor=executor, listener=listener)
    assert listener.killed is not None
    assert filecmp.cmp(tmp_path / "local.html", tmp_path / "remote.html", shallow=False)


def test_export(executor, run, tmp_path):
    local, remote = export(run, tmp_path / "local.parquet"), export(run, tmp_path / "remote.parquet", executor=executor)
    assert filecmp.cmp(local.export, remote.export, shallow=False)


def test_workers_without_demure(monkeypatch):
    def get(reference):
        raise ray.exceptions.RayActorError(error_msg="ModuleNotFoundError:\n No module named 'demure'")

    monkeypatch.setattr(ray, "get", get)
    with pytest.raises(MachineError, match="demure is not installed on the workers; install the same demure on all"):
        result_of(None)


def test_a_part_that_ends_its_worker_again_and_again(executor):
    """The parts before it have results, and its error is that of a lost worker."""

    @dataclass(frozen=True)
    class EndsAt(Task[int, int]):  # here, so that it travels with its code: workers do not import this module
        end: int | None

        def work(self, part, listener):
            if part == self.end:
                os.kill(os.getpid(), signal.SIGKILL)
            return part

    results = executor.map(EndsAt(3), range(6))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(MachineError, match="a worker was lost, and so it was when its part was tried again"):
        next(results)
    assert list(executor.map(EndsAt(None), range(3))) == [0, 1, 2]


def test_a_killed_command_leaves_no_file(run, tmp_path):
    """A command on a cluster of its own is killed in the middle, and then repeated."""
    out = tmp_path / "top.parquet"
    words = [sys.executable, "-m", "demure_cli", "recommend", str(run), "--all", "--out", str(out)]
    command = subprocess.Popen([*words, "--on", "ray", "--ray-workers", "1"], stderr=subprocess.PIPE)
    wait_until(lambda: any(tmp_path.glob(".top.parquet.*")), command)
    command.kill()
    command.wait()
    command.stderr.close()
    assert not out.exists()
    subprocess.run([*words, "--quiet"], check=True, capture_output=True)
    local = recommend(run, tmp_path / "local.parquet")
    assert filecmp.cmp(local.written, out, shallow=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["local.parquet", "top.parquet"]


def kill_first_holder(folder, killed):
    """Kill the first process that holds the lock on a shard in ``folder``, once that exists."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not killed:
        for lock in folder.glob("0*.lock"):
            with contextlib.suppress(OSError, ValueError):
                number = int(lock.read_text().split()[0])
                os.kill(number, signal.SIGKILL)
                killed.append(number)
                return
        time.sleep(0.002)


def test_extract_with_a_killed_worker(executor, tmp_path):
    """1200 pictures in shards of 512; the worker that takes the first shard is killed."""
    dataset = catalogue(tmp_path, items=1200)
    expected = {path.name: path.read_bytes() for path in (dataset / "features" / "image").iterdir()}
    shutil.rmtree(dataset / "features")
    killed = []
    killer = threading.Thread(target=kill_first_holder, args=(dataset / "features" / ".work-image", killed))
    killer.start()
    report = extract(dataset, image="color", executor=executor)
    killer.join()
    assert killed
    assert killed[0] != os.getpid()
    assert {path.name: path.read_bytes() for path in (dataset / "features" / "image").iterdir()} == expected
    assert not list((dataset / "features").glob(".work-*"))
    assert report.modalities[0].present == report.modalities[0].items - report.modalities[0].missing


def test_train_with_a_killed_worker(executor, timed, tmp_path):
    """The group starts again from the last checkpoint, and ends with the weights of a group that was not disturbed."""
    options = {"overrides": QUICK, "seed": 0, "device": "cpu"}
    train_on(executor, timed, tmp_path / "undisturbed", **options)
    killed = []
    number = ray.get(executor._actors[1].ready.remote())
    killer = threading.Thread(target=kill_at_checkpoint, args=(tmp_path / "run", number, killed))
    killer.start()
    report = train_on(executor, timed, tmp_path / "run", **options)
    killer.join()
    assert killed == [number]
    assert report.run == str(tmp_path / "run")
    undisturbed, together = (load_file(tmp_path / name / "model.safetensors") for name in ("undisturbed", "run"))
    for name, tensor in undisturbed.items():
        np.testing.assert_allclose(together[name], tensor, rtol=1e-4, atol=1e-5, err_msg=name)


def kill_at_checkpoint(run, number, killed):
    """Kill the process ``number`` once the run has a checkpoint."""
    deadline = time.monotonic() + 120
    while not (run / CHECKPOINT).exists():
        if time.monotonic() > deadline:
            return
        time.sleep(0.005)
    os.kill(number, signal.SIGKILL)
    killed.append(number)
