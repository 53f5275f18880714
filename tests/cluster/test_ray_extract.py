"""`demure extract` on a Ray cluster on this machine, whose files are decoded by tasks: the same bytes as locally, also
when a process that decodes, one that encodes, or a machine is killed in the middle."""

import contextlib
import os
import shutil
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.hostile_folder import feature_files, pictures
from support.hostile_images import slow_jpeg
from support.remote import forget, other_machine

import demure
from demure.cluster.choose import open_executor
from demure.cluster.executor import Task
from demure.extraction.extract import extract
from demure.storage.folders import Use, local_folder, work_folder

pytestmark = pytest.mark.ray
ray = pytest.importorskip("ray", reason="ray is not installed: make test-ray")
ray_helpers = pytest.importorskip("demure.cluster.ray_helpers")

SECONDS = 2.0
BAD = {
    "broken.png": b"\x89PNG\r\n\x1a\n" + bytes(40),
    "cut.jpg": slow_jpeg(1, 400)[:-300],
    "empty.png": b"",
    "slow.jpg": slow_jpeg(2000, 9400),  # takes ten seconds
    "text.jpg": b"no image",
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A dataset of three shards, and the files of its features as one process makes them."""
    dataset = pictures(tmp_path_factory.mktemp("pictures"), 1100, BAD, side=5000)
    report = extract(dataset, image="color", image_seconds=SECONDS, device="cpu")
    expected, problems = feature_files(dataset), report.modalities[0].problems
    shutil.rmtree(dataset / "features")
    assert problems["takes too long"] == 1
    assert sum(problems.values()) == len(BAD) + 2
    return dataset, expected, problems


@pytest.fixture(scope="module")
def executor(no_address):
    """Three workers whose files are decoded by others."""
    with open_executor("ray", workers=3, device="cpu", helpers=True) as executor:
        yield executor


@pytest.fixture
def dataset(prepared, tmp_path):
    return shutil.copytree(prepared[0], tmp_path / "dataset")


def extract_on(executor, dataset):
    return extract(dataset, image="color", image_seconds=SECONDS, device="cpu", executor=executor)


def tasks_that_decode():
    """Return the processes that decode below this one: their children carry the same name, and are not among them."""
    parents, names = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                names[int(folder.name)] = (folder / "cmdline").read_bytes().decode(errors="replace")

    def is_own(number):
        while number in parents and number != os.getpid():
            number = parents[number]
        return number == os.getpid()

    name = "ray::_do_part"
    return [
        number
        for number, parent in parents.items()
        if names[number].startswith(name) and not names.get(parent, "").startswith("ray::") and is_own(number)
    ]


def holder(folder):
    """Return the first process that holds the lock on a shard in ``folder``, as a list."""
    for lock in folder.glob("0*.lock"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            return [int(lock.read_text().split()[0])]
    return []


def kill_first(processes, killed):
    """Kill the first process that ``processes`` returns, once there is one."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not killed:
        for number in processes()[:1]:
            with contextlib.suppress(OSError):
                os.kill(number, signal.SIGKILL)
                killed.append(number)
        time.sleep(0.01)


def test_a_cluster_of_two_machines_of_which_one_is_lost(second_machine, prepared, dataset, monkeypatch):
    """Both workers are then on the other one, without a core for helpers. The first test of the module: see the
    fixture."""
    monkeypatch.setattr(ray_helpers, "PATIENCE", 5.0)
    _, expected, problems = prepared
    raylet = second_machine.all_processes["raylet"][0].process.pid
    killed = []

    @dataclass(frozen=True)
    class MeetsOther(Task[int, bool]):  # here, so that it travels with its code: workers do not import this module
        folder: Path

        def work(self, part, listener):
            (self.folder / f"part-{part}").touch()
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and not (self.folder / f"part-{1 - part}").exists():
                time.sleep(0.05)
            return (self.folder / f"part-{1 - part}").exists()

    with open_executor("ray", device="cpu", helpers=True) as executor:
        assert list(executor.map(MeetsOther(dataset), range(2))) == [True, True], "one worker took both parts"
        assert (executor.workers, executor.room.cores, executor.room.helper_cores) == (2, 0.5, 0.5)
        killer = threading.Thread(target=kill_first, args=(lambda: [raylet] * bool(tasks_that_decode()), killed))
        killer.start()
        report = extract_on(executor, dataset)
        killer.join()
    assert killed == [raylet]
    assert feature_files(dataset) == expected
    assert report.modalities[0].problems == problems


def test_hostile_files(executor, prepared, dataset):
    _, expected, problems = prepared
    report = extract_on(executor, dataset)
    assert feature_files(dataset) == expected
    assert report.modalities[0].problems == problems
    assert extract_on(executor, dataset).modalities[0].kept == "up to date"


def test_a_dataset_and_pictures_at_a_url(executor, prepared, tmp_path, monkeypatch):
    """Each process that decodes fetches the pictures, as the command and those that encode do."""
    monkeypatch.setenv("DEMURE_CACHE", str(tmp_path / "cache"))
    forget()
    raw, dataset, images = prepared[0].parent, f"file://{tmp_path}/shop/data", f"file://{tmp_path}/shop/images"
    shutil.copytree(raw / "images", tmp_path / "shop" / "images")
    demure.prepare(raw / "interactions.csv", dataset, items=raw / "items.csv", images=images)
    with work_folder(dataset, Use.CHANGE) as work:
        report = extract_on(executor, work.path)
    assert report.modalities[0].problems == prepared[2]
    other_machine(monkeypatch, tmp_path)
    expected = {name: data for name, data in prepared[1].items() if data}  # without the hashes by time of this machine
    assert feature_files(local_folder(dataset)) == expected


def test_a_killed_process_that_decodes(executor, prepared, dataset):
    killed = []
    killer = threading.Thread(target=kill_first, args=(tasks_that_decode, killed))
    killer.start()
    extract_on(executor, dataset)
    killer.join()
    assert killed
    assert feature_files(dataset) == prepared[1]


def test_a_killed_process_that_encodes(executor, prepared, dataset):
    killed = []
    folder = dataset / "features" / ".work-image"
    killer = threading.Thread(target=kill_first, args=(lambda: holder(folder) if tasks_that_decode() else [], killed))
    killer.start()
    extract_on(executor, dataset)
    killer.join()
    assert killed
    assert killed[0] != os.getpid()
    assert feature_files(dataset) == prepared[1]
    assert not list((dataset / "features").glob(".work-*"))


def test_a_killed_command_is_resumed(executor, prepared, dataset, start_python):
    """Shards that the killed command had finished are not encoded again."""
    command = (
        "import sys; from pathlib import Path; from demure.cluster.choose import open_executor;"
        "from demure.extraction.extract import extract\n"
        "with open_executor('ray', workers=2, device='cpu', helpers=True) as executor:\n"
        f"    extract(Path(sys.argv[1]), image='color', image_seconds={SECONDS}, executor=executor)"
    )
    process = start_python("-c", command, str(dataset))
    while not list(dataset.glob("features/.work-image/shard-*")) and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    report = extract_on(executor, dataset)
    assert feature_files(dataset) == prepared[1]
    assert 0 < report.modalities[0].resumed < 1100
