"""`demure prepare` on a Ray cluster on this machine: the same bytes, also when a worker or the command is killed."""

import os
import signal
import threading
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.processes import wait_until

from demure.cluster.choose import open_executor
from demure.preparation.partitioned import prepare as in_parts
from demure.preparation.prepare import PrepareOptions, prepare

pytestmark = pytest.mark.ray
ray = pytest.importorskip("ray", reason="ray is not installed: make test-ray")

SMALL = in_parts.PartSizes(part=500, bucket=1000, partition=700)
OPTIONS = {"split": "all", "k_core": 3, "max_history": 40, "duplicates": "first"}
COMMAND = """
import sys
from pathlib import Path
from demure.cluster.choose import open_executor
from demure.preparation.partitioned import prepare as in_parts
from demure.preparation.prepare import PrepareOptions, prepare
in_parts.SIZES = in_parts.PartSizes(part=500, bucket=1000, partition=700)
log, out = map(Path, sys.argv[1:3])
options = PrepareOptions(log, out, split="all", k_core=3, max_history=40, duplicates="first")
with open_executor("ray", workers=2, device="cpu") as executor:
    prepare(options, executor=executor)
"""


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    rng = np.random.default_rng(3)
    users, items = (rng.zipf(1.3, 4000) % 300), (rng.zipf(1.3, 4000) % 200)
    times = 1_600_000_000 + rng.integers(0, 10_000_000, 4000)
    columns = {"user_id": [f"u{k}" for k in users], "item_id": [f"i{k}" for k in items], "timestamp": times}
    path = tmp_path_factory.mktemp("log") / "log.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=250)
    return path


@pytest.fixture(scope="module")
def expected(log, tmp_path_factory):
    out = tmp_path_factory.mktemp("local") / "out"
    prepare(PrepareOptions(log, out, **OPTIONS))
    return content(out)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(in_parts, "SIZES", SMALL)


def test_a_cluster_of_two_machines(second_machine, log, expected, tmp_path):
    """The first test: see ``second_machine``."""
    with open_executor("ray", device="cpu") as executor:
        assert executor.workers == 2
        prepare(PrepareOptions(log, tmp_path / "out", **OPTIONS), executor=executor)
    assert content(tmp_path / "out") == expected


def kill_when(pattern, folder, number, killed):
    """Kill the process ``number`` once a file of the work folder, or of the unfinished dataset, has the ``pattern``."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if any(folder.glob(f".out.*.part/{pattern}")):
            os.kill(number, signal.SIGKILL)
            killed.append(number)
            return
        time.sleep(0.001)


@pytest.mark.parametrize(
    "pattern",
    [
        "part-3.user_id.arrow",
        "bucket-1.user_id.arrow",
        "part-2.shuffled.arrow",
        "cleaned-1.arrow",
        "kept-1-1.npy",
        "final-1.arrow",
        "split-1.random.arrow",
        "random-*.interactions.parquet",
        "random/interactions.parquet",
    ],
)
def test_a_killed_worker(executor, log, expected, tmp_path, pattern):
    number = ray.get(executor._actors[0].ready.remote())  # the one before may still be starting again
    killed = []
    killer = threading.Thread(target=kill_when, args=(pattern, tmp_path, number, killed))
    killer.start()
    prepare(PrepareOptions(log, tmp_path / "out", **OPTIONS), executor=executor)
    killer.join()
    assert killed == [number]
    assert content(tmp_path / "out") == expected
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("pattern", ["part-2.shuffled.arrow", "*/interactions.parquet"])
def test_a_killed_command(executor, log, expected, tmp_path, start_python, pattern):
    process = start_python("-c", COMMAND, str(log), str(tmp_path / "out"))
    wait_until(lambda: any(tmp_path.glob(f".out.*.part/{pattern}")), process)
    process.kill()
    process.wait()
    assert not (tmp_path / "out").exists()
    assert list(tmp_path.glob(".out.*.part"))
    prepare(PrepareOptions(log, tmp_path / "out", **OPTIONS), executor=executor)
    assert content(tmp_path / "out") == expected
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []
