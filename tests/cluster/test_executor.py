"""Executors, and what goes wrong with a cluster, without a cluster."""

import os
import pickle
import platform
import random
import re
import shutil
import socket
import sys
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.executors import PickledExecutor

from demure import integrity
from demure.cluster.choose import open_executor
from demure.cluster.executor import LOCAL, Task, ranges
from demure.cluster.plan import Room, plan_workers, with_helpers
from demure.cluster.ray_cluster import _failed, check_address
from demure.cluster.worker import SentTask, Worker, check_worker
from demure.errors import DemureError, MachineError, StorageError
from demure.files import sha256_file
from demure.progress import silent
from demure_cli.app import main


@dataclass(frozen=True)
class Doubles(Task[int, int]):
    factor: int
    file: Path | None = None

    def shared_files(self):
        return () if self.file is None else (self.file,)

    @cached_property
    def opened(self):
        return lambda value: value * self.factor  # cannot be pickled

    def work(self, part, listener):
        return self.opened(part)


def test_the_local_executor_takes_a_part_when_its_result_is_wanted():
    taken = []
    results = LOCAL.map(Doubles(2), (taken.append(part) or part for part in (3, 1, 2)))
    assert next(results) == 6
    assert taken == [3]
    assert list(results) == [2, 4]


def test_a_task_travels_without_what_it_has_opened():
    task = Doubles(5)
    assert task.work(1, silent) == 5
    assert vars(pickle.loads(pickle.dumps(task))) == {"factor": 5, "file": None}
    assert list(PickledExecutor(3).map(task, range(7))) == [0, 5, 10, 15, 20, 25, 30]


def test_a_worker_changes_to_the_next_task(tmp_path):
    worker = Worker(1)
    first, second = SentTask.of(0, Doubles(2)), SentTask.of(1, Doubles(3))
    assert [worker.work(sent, 10) for sent in (first, second, first)] == [20, 30, 20]


def test_a_worker_keeps_what_an_equal_task_has_opened():
    worker = Worker(1)
    for number, task in enumerate((Doubles(2), Doubles(2), Doubles(3))):
        worker.work(SentTask.of(number, task), 1)
        if number == 0:
            opened = worker._current.task.opened
        assert (worker._current.task.opened is opened) == (number < 2)


def test_ranges_are_whole_in_this_process_alone():
    assert ranges(LOCAL, 10, 4) == [range(10)]
    assert ranges(PickledExecutor(), 10, 4) == [range(0, 4), range(4, 8), range(8, 10)]


def test_a_worker_that_sees_other_files_does_no_work(tmp_path):
    file = tmp_path / "run.json"
    file.write_text("{}")
    sent = SentTask.of(0, Doubles(2, file))
    check_worker(sent)
    file.write_text("{ }")
    with pytest.raises(MachineError, match=r"run\.json: the worker on .* sees another file there; put the folder"):
        Worker(1).work(sent, 1)
    file.unlink()
    with pytest.raises(MachineError, match="does not see it"):
        Worker(1).work(sent, 1)
    with pytest.raises(MachineError, match=r"has demure 0\.0, and|has demure .*, and this is 0\.0; install the same"):
        check_worker(replace(sent, files={}, version="0.0"))


def test_a_worker_hashes_what_is_not_the_file_that_the_command_hashed(tmp_path, monkeypatch):
    monkeypatch.setattr(integrity, "_SETTLED", -1.0)
    manifest, model, elsewhere = tmp_path / "a" / "run.json", tmp_path / "a" / "x" / "model", tmp_path / "b"
    for file in (manifest, model, elsewhere):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("1")
        integrity.hash_of(file)
    sent = pickle.loads(pickle.dumps(SentTask.of(0, Doubles(2, manifest))))
    assert sent.hashed.keys() == {manifest, model}

    monkeypatch.setattr(integrity, "_checked", {})
    check_worker(sent)
    hashed = []
    monkeypatch.setattr(integrity, "sha256_file", lambda path: hashed.append(path) or sha256_file(path))
    assert integrity.hash_of(model) == sha256_file(model)
    assert hashed == []
    times = model.stat()
    shutil.copy2(model, tmp_path / "copy")
    (tmp_path / "copy").write_text("2")
    os.utime(tmp_path / "copy", ns=(times.st_atime_ns, times.st_mtime_ns))
    os.replace(tmp_path / "copy", model)  # as on a machine that has another file there, of the same size and mtime
    assert integrity.hash_of(model) == sha256_file(model)
    assert hashed == [model]


@dataclass(frozen=True)
class IsRefused(Task[int, int]):
    def work(self, part, listener):
        if part:  # as a worker whose files are decoded by other processes
            return Worker(1).work(SentTask.of(part, self), part - 1)
        raise StorageError("access is refused", where="s3://shop", remedy="give the credentials")


@pytest.mark.parametrize("part", [0, 1])
def test_a_worker_that_is_refused_what_is_at_a_url_names_its_machine(part):
    line = rf"^s3://shop: access is refused, for the worker on {re.escape(platform.node())}; give the credentials$"
    with pytest.raises(StorageError, match=line):
        Worker(1).work(SentTask.of(0, IsRefused()), part)


def test_without_ray_one_line_names_the_package(monkeypatch, run, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    out = tmp_path / "top.parquet"
    assert main(["recommend", str(run), "--all", "--out", str(out), "--on", "ray"]) == 2
    assert capsys.readouterr().err == (
        "demure: --on ray: the package ray is not installed; pip install 'demure[ray]'\n"
    )
    assert not out.exists()


def test_engines():
    with pytest.raises(DemureError, match="unknown engine 'spark'; use local or ray"), open_executor("spark"):
        pass
    with pytest.raises(DemureError, match=r"--ray-workers: .*add --on ray"), open_executor(workers=2):
        pass
    with open_executor() as executor:
        assert executor is LOCAL


@pytest.mark.parametrize("address", ["head", "ray://head:10001", ":6379", "head:port"])
def test_an_address_of_another_form(address):
    with pytest.raises(MachineError, match=f"RAY_ADDRESS is '{address}'; set it to HOST:PORT"):
        check_address(address)


def test_an_address_where_nothing_listens():
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        check_address(address)
    with pytest.raises(MachineError, match=rf"no Ray cluster can be reached at RAY_ADDRESS={address} \(.*refused"):
        check_address(address)


@pytest.mark.parametrize(
    ("address", "text", "line"),
    [
        (
            "head:1",
            "Version mismatch:\nRay: 2.59",
            r"at head:1 has other versions \(Version mismatch: Ray: 2\.59\); install",
        ),
        ("local", "no room", r"Ray does not start on this machine \(no room\); see its logs"),
        ("head:1", "", r"no Ray cluster can be reached at RAY_ADDRESS=head:1 \(RuntimeError\); use `ray start"),
    ],
)
def test_a_cluster_that_cannot_be_used_is_one_line(address, text, line):
    assert re.search(line, str(_failed(address, RuntimeError(text))))


@pytest.mark.parametrize(
    ("nodes", "workers", "gpus", "expected"),
    [
        ([(2, 0)], None, True, (1, 2)),
        ([(16, 0), (3, 0)], None, True, (5, 3)),
        ([(16, 4), (8, 2)], None, True, (6, 4)),
        ([(16, 4), (8, 2)], None, False, (6, 4)),
        ([(3, 0), (1, 0)], 2, True, (2, 1)),  # two cores each would fit once
        ([(2, 0)], 3, True, (3, 0.5)),
        ([(2, 0), (0, 0)], 2, True, (2, 1)),
        ([(4, 4), (16, 0)], None, True, (4, 1)),  # only one machine has GPUs
        ([(4, 4), (16, 0)], 6, True, (6, 3)),  # more than GPUs, which is refused later
        ([(0, 2), (8, 0)], None, True, (2, 4)),
    ],
)
def test_workers_and_their_cores(nodes, workers, gpus, expected):
    assert plan_workers(nodes, workers, gpus=gpus) == expected


@pytest.mark.parametrize(
    ("nodes", "workers", "on_gpus", "room"),
    [
        ([(16, 4), (32, 0)], 4, True, Room(1.0, 11, 1.0)),
        ([(4, 4), (16, 0)], 4, True, Room(0.5, 4, 1.0)),
        ([(8, 0)], 2, False, Room(3.0, 1, 1.0)),
        ([(2, 0)], 2, False, Room(0.5, 1, 1.0)),
        ([(1, 0), (1, 0)], 2, False, Room(0.5, 1, 0.5)),
        ([(1, 0)], 1, False, Room(0.5, 1, 0.5)),
    ],
)
def test_workers_leave_room_for_helpers(nodes, workers, on_gpus, room):
    number, cores = plan_workers(nodes, workers, gpus=on_gpus)
    assert with_helpers(nodes, number, cores, on_gpus=on_gpus) == room


@settings(max_examples=50)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 20), st.integers(0, 99))
def test_there_is_room_for_a_helper_wherever_the_workers_are(cores, workers, seed):
    nodes = [(core, 0) for core in cores]
    room = with_helpers(nodes, *plan_workers(nodes, workers, gpus=False), on_gpus=False)
    free, rng = list(map(float, cores)), random.Random(seed)
    for _ in range(workers):
        place = rng.choice([k for k, core in enumerate(free) if core + 1e-9 >= room.cores])
        free[place] -= room.cores
    assert max(free) + 1e-9 >= room.helper_cores


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.one_of(st.none(), st.integers(1, 60)))
def test_all_workers_fit_at_the_same_time(cores, workers):
    number, size = plan_workers([(core, 0) for core in cores], workers, gpus=True)
    assert workers in (None, number)
    assert sum(int(core / size + 1e-9) for core in cores) >= number
