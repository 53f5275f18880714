"""Two processes never write one folder; a lock ends with its process."""

import os
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
from support.small_sets import QUICK

from demure import locks
from demure.errors import DemureError, RunError
from demure.files import atomic_folder
from demure.leftovers import folder_lock
from demure.locks import hold, hold_folder, holder
from demure.preparation.prepare import PrepareOptions, prepare
from demure.runs.folder import claim_folder
from demure.training.run import train
from demure.tuning.tune import tune

HOLD = """
import contextlib, sys, time
from pathlib import Path
from demure.locks import hold
if sys.argv[1] == "bytes":
    from support.as_on_windows import use_byte_ranges
    use_byte_ranges()
with contextlib.ExitStack() as stack:
    print(all([stack.enter_context(hold(Path(file))) for file in sys.argv[2:]]), flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["flock", "bytes"])
def system(request, monkeypatch):
    """Lock by ``flock``, and as on Windows."""
    if request.param == "bytes":
        if sys.platform != "linux":
            pytest.skip("locks that belong to an open file are of Linux")
        from support.as_on_windows import refuse_open_files, use_byte_ranges

        use_byte_ranges(partial(monkeypatch.setattr, raising=False))
        refuse_open_files(monkeypatch, locks.tempfile.gettempdir())
    return request.param


@pytest.fixture
def other_process(start_python, system):
    """Return a function that lets another process hold locks, and returns that process."""

    def start(*files):
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
        path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        process = start_python("-c", HOLD, system, *files, stdout=-1, env={**os.environ, "PYTHONPATH": path})
        assert process.stdout.readline() == "True\n"
        return process

    return start


def test_who_else_writes_is_refused_with_the_number_of_the_process(timed, tmp_path, other_process):
    run, study, data, export = (tmp_path / name for name in ("run", "study", "data", "export"))
    csv = tmp_path / "x.csv"
    csv.write_text("user_id,item_id,timestamp\nu,a,1\nu,b,2\nu,c,3\n")
    lock = run / ".training.lock"
    attempts = (
        (lambda: train(timed, run, overrides=QUICK, device="cpu"), lock, f"{run}: is being trained by"),
        (lambda: train(timed, run, overrides=QUICK, device="cpu", overwrite=True), lock, "is being trained by"),
        (lambda: tune(timed, study, device="cpu"), folder_lock(study), f"{study}: is being tuned by"),
        (lambda: prepare(PrepareOptions(csv, data)), folder_lock(data), f"{data}: is being prepared by"),
        (lambda: atomic_folder(export).__enter__(), folder_lock(export), f"{export}: is being written by"),
    )
    process = other_process(*dict.fromkeys(file for _, file, _ in attempts))
    for attempt, _, words in attempts:
        with pytest.raises(DemureError, match=f"{words} process {process.pid}; wait until it has ended"):
            attempt()
    assert not any(path.exists() for path in (study, data, export))
    process.kill()
    process.wait()
    with atomic_folder(export):
        pass
    assert export.is_dir()
    with claim_folder(run, resume=False, overwrite=False):
        pass
    assert list(run.iterdir()) == []


def test_an_extraction_holds_off_an_overwrite_and_not_another_extraction(tmp_path, other_process):
    csv = tmp_path / "x.csv"
    csv.write_text("user_id,item_id,timestamp\nu,a,1\nu,b,2\nu,c,3\n")
    prepare(PrepareOptions(csv, tmp_path / "data"))
    process = other_process(tmp_path / "data" / "features" / ".extraction.lock")
    with pytest.raises(DemureError, match=f"is being extracted by process {process.pid}"):
        prepare(PrepareOptions(csv, tmp_path / "data", overwrite=True))
    process.kill()
    process.wait()
    lock = tmp_path / "data" / "features" / ".extraction.lock"
    with hold(lock, shared=True) as first, hold(lock, shared=True) as second:
        assert first
        assert second
        with pytest.raises(DemureError, match=f"is being extracted by process {os.getpid()}"):
            prepare(PrepareOptions(csv, tmp_path / "data", overwrite=True))
    prepare(PrepareOptions(csv, tmp_path / "data", overwrite=True))


def test_one_thread_may_hold_it_twice_and_another_thread_may_not(tmp_path, system):
    lock, outcomes = tmp_path / "lock", []

    def other():
        try:
            with hold_folder(lock, tmp_path, "written"):
                outcomes.append("held")
        except DemureError as error:
            outcomes.append(str(error))

    with hold_folder(lock, tmp_path, "written"), hold_folder(lock, tmp_path, "written"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert f"is being written by process {os.getpid()}" in outcomes[0]
    assert not lock.exists()
    other()
    assert outcomes[1] == "held"


@pytest.mark.parametrize(("resume", "overwrite"), [(False, False), (True, False), (False, True)])
def test_a_training_that_runs_keeps_its_folder(tmp_path, other_process, system, resume, overwrite):
    run = tmp_path / "run"
    process = other_process(run / ".training.lock")
    parts = ("checkpoint.safetensors", ".checkpoint.safetensors.abcdefgh.part.safetensors")
    for name in parts:
        (run / name).write_text("of the other training")
    with (
        pytest.raises(DemureError, match=f"is being trained by process {process.pid}"),
        claim_folder(run, resume=resume, overwrite=overwrite),
    ):
        pass
    assert all((run / name).exists() for name in parts)
    process.kill()
    process.wait()
    if not (resume or overwrite):
        with (
            pytest.raises(RunError, match="holds an unfinished training"),
            claim_folder(run, resume=False, overwrite=False),
        ):
            pass
    with claim_folder(run, resume=resume, overwrite=overwrite or not resume):
        assert (run / parts[0]).exists() == resume
        by_age = system == "bytes"  # as on Windows, where a part is not locked
        assert (run / parts[1]).exists() == (by_age and resume)


def test_the_holder_of_an_empty_lock(tmp_path):
    (tmp_path / "lock").write_text("")
    assert holder(tmp_path / "lock") == "another process"
    (tmp_path / "lock").write_text("7 elsewhere\n")
    assert holder(tmp_path / "lock") == "process 7 on elsewhere"


def test_who_waits_gets_the_lock_when_the_other_process_is_killed(tmp_path, other_process):
    process = other_process(tmp_path / "lock")
    with hold(tmp_path / "lock") as held:
        assert not held
    with hold(tmp_path / "lock", shared=True) as held:
        assert not held
    threading.Timer(0.1, process.kill).start()
    with hold(tmp_path / "lock", wait=True) as held:
        assert held
    process.wait()


def test_a_lock_that_is_shared_is_held_alone_by_nobody(tmp_path, system):
    lock = tmp_path / "lock"
    with hold(lock, shared=True) as first:
        with hold(lock, shared=True) as second, hold(lock) as alone:
            assert (first, second, alone) == (True, True, False)
        with hold(lock) as alone:
            assert not alone
    with hold(lock) as alone, hold(lock, shared=True) as shared:
        assert (alone, shared) == (True, False)


def test_no_lock_in_a_folder_that_is_gone(tmp_path, system):
    with hold(tmp_path / "gone" / "lock") as held:
        assert not held


@pytest.mark.parametrize("system", ["bytes"], indirect=True)
def test_on_windows_no_lock_lies_in_the_folder_and_none_is_left(tmp_path, monkeypatch, system):
    monkeypatch.setattr(locks.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    (tmp_path / "run").mkdir()
    with hold(tmp_path / "run" / "lock"), hold(tmp_path / "lock", shared=True):
        assert len(list((tmp_path / "temporary" / "demure-locks").iterdir())) == 2
        assert not list((tmp_path / "run").iterdir())
    assert not list((tmp_path / "temporary" / "demure-locks").iterdir())
