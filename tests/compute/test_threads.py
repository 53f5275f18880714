"""How many threads compute."""

import os

import pytest
import torch

from demure.compute import threads
from demure.compute.threads import one_thread, prepare_threads, usable_cores


@pytest.fixture
def cgroups(tmp_path, monkeypatch):
    """The folder of control groups of a host with 64 cores, without a limit until a test writes one."""
    monkeypatch.setattr(threads, "CGROUPS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(64), raising=False)
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("files", "cores", "environment"),
    [
        ({}, 64, None),
        ({"cpu.max": "max 100000\n"}, 64, None),
        ({"cpu.max": "200000 100000\n"}, 2, "2"),
        ({"cpu.max": "50000 100000\n"}, 1, "1"),
        ({"cpu.max": "250000 100000\n"}, 3, "3"),
        ({"cpu.max": "9900000 100000\n"}, 64, "64"),
        ({"cpu.max": "nonsense\n"}, 64, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4, "4"),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 64, None),
    ],
)
def test_the_quota_of_a_container_counts(cgroups, files, cores, environment):
    for name, text in files.items():
        (cgroups / name).parent.mkdir(exist_ok=True)
        (cgroups / name).write_text(text)
    assert usable_cores() == cores
    prepare_threads()
    assert os.environ.get("OMP_NUM_THREADS") == environment
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


def test_here_there_is_a_core():
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)


def test_what_the_user_has_set_stays(cgroups, monkeypatch):
    (cgroups / "cpu.max").write_text("200000 100000\n")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    prepare_threads()
    assert (os.environ["OMP_NUM_THREADS"], os.environ["OMP_WAIT_POLICY"]) == ("7", "ACTIVE")


def test_one_thread_and_then_as_many_as_before():
    before, counts = torch.get_num_threads(), []
    torch.set_num_threads(2)
    try:
        with one_thread():
            counts.append(torch.get_num_threads())
        assert (counts, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)
