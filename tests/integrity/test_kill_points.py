"""A table of kill points: wherever a process is killed, a folder is as before or as after, and nothing stays behind."""

import os
import signal

import pytest

from demure import files, leftovers
from demure.data.dataset import Dataset
from demure.errors import RunError
from demure.files import atomic_file, atomic_folder, write_json
from demure.leftovers import bring_back, exchange, mark_part, sweep
from demure.preparation.prepare import PrepareOptions, prepare
from demure.runs import folder as run_folder

CALLS = ("rename", "replace", "unlink", "rmdir", "mkdir", "chmod", "link")


def kill_at(number, action, can_exchange=True, names=CALLS):
    """Run ``action`` in a fork that is killed before its call ``number`` of the file system; return whether it was."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    try:
        if not can_exchange:
            files.exchange = lambda first, second: False
        calls = 0

        def count(real):
            def counted(*arguments, **options):
                nonlocal calls
                calls += 1
                if calls == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **options)

            return counted

        for name in names:
            setattr(os, name, count(getattr(os, name)))
        action()
    finally:
        os._exit(0)


def write_folder(path, content):
    with atomic_folder(path, overwrite=True) as part:
        (part / "a").write_text(content)
        (part / "b").mkdir()
        (part / "b" / "c").write_text(content)


def content_of(path):
    texts = {(path / "a").read_text(), (path / "b" / "c").read_text()}
    assert len(texts) == 1
    return texts.pop()


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_folder_is_whole_at_every_kill_point(tmp_path, can_exchange):
    outcomes, number = [], 0
    while True:
        number += 1
        root = tmp_path / str(number)
        root.mkdir()
        path = root / "ds"
        write_folder(path, "old")
        was_killed = kill_at(number, lambda path=path: write_folder(path, "new"), can_exchange)
        if can_exchange:
            assert path.is_dir()  # at no time is there no folder of this name
        assert bring_back(path)
        outcomes.append(content_of(path))
        write_folder(path, "newest")
        assert content_of(path) == "newest"
        assert [entry.name for entry in root.iterdir()] == ["ds"], f"left behind by kill point {number}"
        if not was_killed:
            break
    assert number > 8
    assert outcomes == ["old"] * outcomes.count("old") + ["new"] * outcomes.count("new")
    assert {"old", "new"} <= set(outcomes)


def test_a_file_is_whole_at_every_kill_point(tmp_path):
    number, was_killed = 0, True
    while was_killed:
        number += 1
        root = tmp_path / str(number)
        root.mkdir()
        write_json(root / "x.json", "old")
        was_killed = kill_at(number, lambda root=root: write_json(root / "x.json", "new"))
        assert files.read_json(root / "x.json") in ("old", "new")
        write_json(root / "x.json", "newest")
        assert [entry.name for entry in root.iterdir()] == ["x.json"]


def prepared(tmp_path, rows):
    csv = tmp_path / "x.csv"
    csv.write_text("user_id,item_id,timestamp\n" + "".join(f"u,i{k},{k}\n" for k in range(rows)))
    prepare(PrepareOptions(csv, tmp_path / "ds", overwrite=True))


@pytest.mark.parametrize("can_exchange", [True, False])
def test_the_next_command_finds_the_dataset_at_every_kill_point(tmp_path, can_exchange):
    number, was_killed = 0, True
    while was_killed:
        number += 1
        root = tmp_path / str(number)
        root.mkdir()
        prepared(root, 3)
        (root / "ds" / "features").mkdir()
        (root / "ds" / "features" / ".images.parquet").write_text("carried over")
        was_killed = kill_at(number, lambda root=root: prepared(root, 4), can_exchange, ("rename", "replace", "rmdir"))
        dataset = Dataset.load(root / "ds")
        assert dataset.n_items in (3, 4)
        assert (root / "ds" / "features" / ".images.parquet").read_text() == "carried over"
        prepared(root, 5)
        assert {path.name for path in root.iterdir()} == {"ds", "x.csv"}
    assert number > 3


RUN_FILES = ("run.json", "recipe.yaml", "model.safetensors", "metrics.jsonl", "diagnosis.parquet")


def write_run(out, content):
    out.mkdir()
    for name in RUN_FILES:
        (out / name).write_text(content)


def overwrite_run(out):
    with run_folder.claim_folder(out, resume=False, overwrite=True) as working:
        assert [path.name for path in working.iterdir()] == [".training.lock"]
        for name in reversed(RUN_FILES):
            (working / name).write_text("new")
        run_folder.publish(out)


@pytest.mark.parametrize("way", ["exchange", "rename", "in place"])
def test_a_run_that_is_being_overwritten_is_whole_at_every_kill_point(tmp_path, way, monkeypatch):
    """The earlier run stays until the new one takes its place."""
    if way == "in place":
        monkeypatch.setattr(run_folder.tempfile, "mkdtemp", lambda **_: os.stat(tmp_path / "nowhere"))
    number, was_killed, outcomes = 0, True, []
    while was_killed:
        number += 1
        out = tmp_path / str(number) / "run"
        out.parent.mkdir()
        write_run(out, "old")
        was_killed = kill_at(number, lambda out=out: overwrite_run(out), way == "exchange")
        bring_back(out)
        if way != "in place" or (out / "run.json").exists():
            texts = {(out / name).read_text() for name in RUN_FILES}
            assert len(texts) == 1
            outcomes += texts
        if (out / "unfinished").is_dir() and (number % 2 or (out / "unfinished" / "run.json").is_file()):
            with pytest.raises(RunError, match=r"is already finished|CutOff"):  # noqa: SIM117
                with run_folder.claim_folder(out, resume=True, overwrite=False):
                    raise RunError("CutOff")
            assert {(out / name).read_text() for name in RUN_FILES} <= {"old", "new"}
        overwrite_run(out)
        assert sorted(path.name for path in out.iterdir()) == sorted(RUN_FILES)
        assert {(out / name).read_text() for name in RUN_FILES} == {"new"}
        assert [path.name for path in out.parent.iterdir()] == ["run"]
    assert number > 3
    assert outcomes == ["old"] * outcomes.count("old") + ["new"] * outcomes.count("new")
    assert {"old", "new"} <= set(outcomes)


def test_what_other_processes_are_writing_is_not_swept(tmp_path):
    with atomic_file(tmp_path / "x.json") as part, atomic_folder(tmp_path / "ds") as folder:
        part.write_text("{}")
        child = os.fork()
        if not child:
            sweep(tmp_path)
            os._exit(0)
        os.waitpid(child, 0)
        assert part.is_file()
        assert folder.is_dir()


def test_only_parts_are_swept(tmp_path):
    keep = ("part", ".x.part", "x.abcdefgh.part", ".x.abcdefgh.parts", ".x.short.part", ".y.abcdefgh.part.csv")
    for name in (*keep, ".x.abcdefgh.part", ".x.abcdefgh.part.csv"):
        (tmp_path / name).touch()
    sweep(tmp_path, "x")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(keep)
    sweep(tmp_path)
    assert not (tmp_path / ".y.abcdefgh.part.csv").exists()


def test_folders_are_exchanged_where_the_system_can(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    assert exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "b").exists()
    assert not exchange(tmp_path / "a", tmp_path / "nowhere")
    monkeypatch.setattr(leftovers.ctypes, "CDLL", lambda *_, **__: object())
    assert not exchange(tmp_path / "a", tmp_path / "b")


def test_a_part_on_a_file_system_without_locks_is_written(tmp_path, monkeypatch):
    class NoLocks:
        LOCK_EX, LOCK_NB, LOCK_SH = 2, 4, 1

        @staticmethod
        def flock(handle, kind):
            raise OSError(95, "Operation not supported")

    monkeypatch.setattr(leftovers, "fcntl", NoLocks)
    with open(tmp_path / ".x.abcdefgh.part", "w") as handle:
        mark_part(handle.fileno())
    sweep(tmp_path)
    assert (tmp_path / ".x.abcdefgh.part").exists()


def test_a_link_to_a_folder_stays_a_link(tmp_path):
    write_folder(tmp_path / "there" / "ds", "old")
    (tmp_path / "link").symlink_to(tmp_path / "there" / "ds")
    write_folder(tmp_path / "link", "new")
    assert content_of(tmp_path / "there" / "ds") == "new"
    write_run(tmp_path / "there" / "run", "old")
    (tmp_path / "last").symlink_to(tmp_path / "there" / "run")
    overwrite_run(tmp_path / "last")
    assert (tmp_path / "there" / "run" / "run.json").read_text() == "new"
    assert {path.name for path in tmp_path.rglob("*")} == {
        "there",
        "ds",
        "a",
        "b",
        "c",
        "link",
        "run",
        "last",
        *RUN_FILES,
    }
