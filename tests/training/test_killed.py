"""Trainings of real processes, killed, interrupted or out of space: nothing of the last good state is lost."""

import os
import resource
import signal
import subprocess

import pytest
import torch
from safetensors.torch import load_file
from support.processes import wait_until
from support.small_sets import QUICK

from demure.errors import RunError
from demure.runs.folder import CHECKPOINT
from demure.training.optimizer import Optimizer
from demure.training.run import train
from demure_cli.app import main

STEPS = ("training.epochs=6", "training.epoch_steps=5", "training.offset_epochs=2")
ASKED = {
    "default": (*QUICK, *STEPS),
    "sasrec": ("baseline.epochs=24", "baseline.every=8", "baseline.dim=8", "baseline.batch=8"),
}
MADE = ("model.safetensors", "metrics.jsonl")


def command(dataset, out, recipe, *more):
    sets = [part for override in ASKED[recipe] for part in ("--set", override)]
    line = ["train", str(dataset), "--out", str(out), "--recipe", recipe, "--device", "cpu", "--quiet", *sets]
    return [*line, "--checkpoint-minutes", "0", *more]


def written(checkpoint):
    """When the checkpoint was written; 0 if it is not there."""
    return checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0


@pytest.fixture(scope="module", params=["default", pytest.param("sasrec", marks=pytest.mark.slow)])
def whole(request, timed, tmp_path_factory):
    """(recipe, a run of it that nothing disturbed)"""
    out = tmp_path_factory.mktemp("whole") / "run"
    train(timed, out, recipe=request.param, overrides=ASKED[request.param], device="cpu")
    return request.param, out


def test_killed_again_and_again_it_ends_with_the_same_weights(whole, timed, tmp_path, start_python):
    """Killed after one, four and two new checkpoints: somewhere in the step after it."""
    recipe, expected = whole
    out, kills = tmp_path / "run", 0
    for checkpoints in (1, 4, 2):
        process = start_python("-m", "demure_cli", *command(timed, out, recipe, "--resume"), stderr=subprocess.PIPE)
        for _ in range(checkpoints):
            before = written(out / CHECKPOINT)
            wait_until(lambda: written(out / CHECKPOINT) > before, process)  # noqa: B023
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        if (out / "run.json").exists():
            break
    assert kills >= 2
    if not (out / "run.json").exists():
        assert main(command(timed, out, recipe, "--resume")) == 0
    for name in MADE:
        assert (out / name).read_bytes() == (expected / name).read_bytes(), name
    assert not list(out.glob(".*"))


def test_ctrl_c_keeps_every_step_and_names_the_way_to_go_on(whole, timed, tmp_path, start_python):
    recipe, expected = whole
    out = tmp_path / "run"
    process = start_python("-m", "demure_cli", *command(timed, out, recipe), stderr=subprocess.PIPE)
    wait_until((out / CHECKPOINT).exists, process)
    process.send_signal(signal.SIGINT)
    stderr = process.stderr.read()
    if process.wait() == 0:
        pytest.skip("it was done before the signal arrived")
    assert process.returncode == 130
    assert stderr.count("\n") == 1
    assert "interrupted" in stderr
    assert "--resume" in stderr
    assert main(command(timed, out, recipe, "--resume")) == 0
    for name in MADE:
        assert (out / name).read_bytes() == (expected / name).read_bytes(), name


def test_an_interruption_waits_for_the_end_of_the_step(whole, timed, tmp_path, monkeypatch):
    """Sent in the middle of a gradient step: the checkpoint holds that step."""
    recipe, expected = whole
    real, calls = Optimizer.step, []

    def step(self, *arguments, **options):
        calls.append(1)
        if len(calls) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, *arguments, **options)

    asked = {"recipe": recipe, "overrides": ASKED[recipe], "device": "cpu", "checkpoint_minutes": 60}
    with monkeypatch.context() as patch:
        patch.setattr(Optimizer, "step", step)
        with pytest.raises(KeyboardInterrupt):
            train(timed, tmp_path / "run", **asked)
    assert len(calls) == len(load_file(tmp_path / "run" / CHECKPOINT)["losses"]) == 5
    train(timed, tmp_path / "run", **asked, resume=True)
    for name in MADE:
        assert (tmp_path / "run" / name).read_bytes() == (expected / name).read_bytes(), name


def test_a_full_disk_is_one_line_and_the_last_checkpoint_stays(whole, timed, tmp_path, capsys):
    """The limit lets the first checkpoint through and not the next, which holds the optimiser's moments too."""
    recipe, expected = whole
    out = tmp_path / "run"

    class Stop(Exception):
        pass

    def stop(progress):
        if progress.stage == "train":
            raise Stop

    with pytest.raises(Stop):
        train(timed, tmp_path / "size", recipe=recipe, overrides=ASKED[recipe], device="cpu", listener=stop)
    size = (tmp_path / "size" / CHECKPOINT).stat().st_size
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 64, limit[1]))
    try:
        status = main(command(timed, out, recipe))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    stderr = capsys.readouterr().err
    assert status == 2
    assert stderr.count("\n") == 1
    assert "cannot write" in stderr
    assert CHECKPOINT in stderr
    kept, first = (load_file(folder / CHECKPOINT) for folder in (out, tmp_path / "size"))
    assert kept.keys() == first.keys()
    assert all(kept[name].equal(first[name]) for name in first)
    assert not list(out.glob(".*"))
    assert main(command(timed, out, recipe, "--resume")) == 0
    for name in MADE:
        assert (out / name).read_bytes() == (expected / name).read_bytes(), name


def test_weights_that_are_no_numbers_are_not_written_between_epochs(timed, tmp_path, monkeypatch):
    """A loss that is still finite, from a step whose gradient was not: the next step fails; the checkpoint is older."""
    real, calls = Optimizer.step, []

    def step(self, *arguments, **options):
        calls.append(1)
        value = real(self, *arguments, **options)
        if len(calls) == 3:
            with torch.no_grad():
                self._parts[0].param_groups[0]["params"][0].fill_(float("nan"))
        return value

    monkeypatch.setattr(Optimizer, "step", step)
    asked = {"recipe": "sasrec", "overrides": ASKED["sasrec"], "device": "cpu", "checkpoint_minutes": 0}
    with pytest.raises(RunError, match=r"the loss is nan in epoch 1.*last good epoch is kept"):
        train(timed, tmp_path / "run", **asked)
    kept = load_file(tmp_path / "run" / CHECKPOINT)
    assert len(kept["losses"]) == 2
    assert all(bool(torch.isfinite(tensor).all()) for tensor in kept.values() if tensor.is_floating_point())


def test_a_wrong_number_of_minutes_is_refused(timed, tmp_path, capsys):
    assert main([*command(timed, tmp_path / "run", "sasrec")[:-1], "-3"]) == 2
    assert "--checkpoint-minutes" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
