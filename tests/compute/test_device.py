"""Apple's GPUs have no numbers of 64 bits: features are extracted there, and nothing else is computed."""

import pytest
import torch

from demure.compute.device import pick_device
from demure.errors import MachineError


@pytest.mark.parametrize("name", ["mps", "mps:0"])
def test_what_needs_64_bits_is_not_computed_on_mps(name):
    with pytest.raises(MachineError, match=r"--device mps: has no numbers of 64 bits.*use cpu"):
        pick_device(name)


def test_auto_is_mps_only_for_work_that_can_run_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert pick_device("auto").type == "cpu"
    assert pick_device("auto", mps=True).type == "mps"


@pytest.mark.parametrize("name", ["gpu", "cpu:x"])
def test_a_device_that_there_is_not(name):
    with pytest.raises(MachineError, match=f"cannot compute on {name!r} here.*use auto or cpu"):
        pick_device(name)
