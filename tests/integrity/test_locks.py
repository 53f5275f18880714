"""Two processes never write one folder; a lock ends with its process."""

import os
import threading

import pytest
from support.small_sets import QUICK

from demure.errors import DemureError, RunError
from demure.files import atomic_folder
from demure.leftovers import folder_lock
from demure.locks import hold, hold_folder, holder
from demure.preparation.prepare import PrepareOptions, prepare
from demure.runs.folder import claim_folder
from demure.training.run import train
from demure.tuning.tune import tune

HOLD = "from pathlib import Path; from demure.locks import hold; import sys, time\n"
HOLD += "with hold(Path(sys.argv[1])) as held:\n print(held, flush=True)\n time.sleep(60)"


@pytest.fixture
def other_process(start_python, tmp_path):
    """Return a function that lets another process hold a lock, and returns that process."""

    def start(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        process = start_python("-c", HOLD, str(file), stdout=-1)
        assert process.stdout.readline() == "True\n"
        return process

    return start


def test_who_else_writes_is_refused_with_the_number_of_the_process(timed, tmp_path, other_process):
    run, study, data, export = (tmp_path / name for name in ("run", "study", "data", "export"))
    csv = tmp_path / "x.csv"
    csv.write_text("user_id,item_id,timestamp\nu,a,1\nu,b,2\nu,c,3\n")
    lock = run / ".training.lock"
    process = other_process(lock)
    attempts = (
        (lambda: train(timed, run, overrides=QUICK, device="cpu"), lock, f"{run}: is being trained by"),
        (lambda: train(timed, run, overrides=QUICK, device="cpu", overwrite=True), lock, "is being trained by"),
        (lambda: tune(timed, study, device="cpu"), folder_lock(study), f"{study}: is being tuned by"),
        (lambda: prepare(PrepareOptions(csv, data)), folder_lock(data), f"{data}: is being prepared by"),
        (lambda: atomic_folder(export).__enter__(), folder_lock(export), f"{export}: is being written by"),
    )
    for attempt, file, words in attempts:
        if file != lock:
            if file.exists():
                file.unlink()
            os.link(lock, file)  # the same lock under another name
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


def test_one_thread_may_hold_it_twice_and_another_thread_may_not(tmp_path):
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
def test_a_training_that_runs_keeps_its_folder(tmp_path, other_process, resume, overwrite):
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
        assert not (run / parts[1]).exists()


def test_the_holder_of_an_empty_lock(tmp_path):
    (tmp_path / "lock").write_text("")
    assert holder(tmp_path / "lock") == "another process"
    (tmp_path / "lock").write_text("7 elsewhere\n")
    assert holder(tmp_path / "lock") == "process 7 on elsewhere"
