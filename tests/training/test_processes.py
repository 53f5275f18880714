"""Two processes over gloo train what one trains."""

import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.processes import wait_until
from support.small_sets import QUICK

from demure.runs.folder import CHECKPOINT
from demure.training.run import train

SHORT = ("baseline.epochs=4", "baseline.every=2", "baseline.dim=8", "baseline.batch=63")
ASKED = {
    "default": (*QUICK, "training.batch_users=31"),
    "sasrec": (*SHORT, "baseline.dropout=0", "baseline.batch=7"),
    "freedom": SHORT,
}


def launch_two(start_python, dataset, out, recipe, *more, asked=None):
    """Train with two processes of torchrun, which are children of the process returned."""
    sets = [part for override in asked or ASKED[recipe] for part in ("--set", override)]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    line = ["demure_cli", "train", str(dataset), "--out", str(out), "--recipe", recipe, "--device", "cpu", *sets]
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    return start_python(
        *launcher,
        *line,
        *more,
        env={**environment, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.mark.parametrize(
    "recipe",
    ["default", pytest.param("sasrec", marks=pytest.mark.slow), pytest.param("freedom", marks=pytest.mark.slow)],
)
def test_two_train_what_one_trains(timed, tmp_path, recipe, start_python):
    """Batches of odd sizes, so that the parts differ; the last ones may leave a process with nothing."""
    train(timed, tmp_path / "one", recipe=recipe, overrides=ASKED[recipe], device="cpu")
    process = launch_two(start_python, timed, tmp_path / "two", recipe, "--json")
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert json.loads(stdout)["run"] == str(tmp_path / "two")  # one object: the first process reports for both
    alone, together = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    )
    assert len(alone) == len(together)
    for single, shared in zip(alone, together, strict=True):
        assert shared == pytest.approx(single, rel=1e-4, abs=1e-5)
    ours, theirs = (load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name, tensor in ours.items():
        if name.endswith("in_proj_bias"):  # a softmax does not feel the bias of its keys: noise that Adam blows up
            tensor, theirs[name] = (np.delete(bias, np.arange(8, 16)) for bias in (tensor, theirs[name]))
        np.testing.assert_allclose(theirs[name], tensor, rtol=2e-3, atol=2e-4, err_msg=name)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc to tell the processes apart")
def test_when_one_dies_the_other_ends_with_a_line_and_the_checkpoint_stays(timed, tmp_path, start_python):
    out = tmp_path / "run"
    asked = (*SHORT[2:], "baseline.epochs=100000", "baseline.every=100", "baseline.patience=100000")
    process = launch_two(start_python, timed, out, "sasrec", "--quiet", asked=asked)
    wait_until((out / CHECKPOINT).exists, process)
    os.kill(_second_of(process.pid), signal.SIGKILL)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode != 0
    ours = [line for line in stderr.splitlines() if line.startswith("demure: ")]
    assert len(ours) <= 1  # none if the launcher was quicker to end the other
    assert all("another process" in line or "interrupted" in line for line in ours)
    assert not [line for line in stderr.splitlines() if "demure/training" in line]  # no traceback of ours
    assert (out / CHECKPOINT).exists()
    assert (out / "metrics.jsonl").exists()


def _second_of(launcher: int) -> int:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == launcher and b"\0RANK=1\0" in b"\0" + (folder / "environ").read_bytes():
                return int(folder.name)
        except (OSError, ValueError):
            continue
    raise AssertionError("the second process is not there")
