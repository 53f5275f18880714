"""Where to compute."""

import pytest
import torch

from demure.errors import MachineError
from demure.training.devices import pick_device


def test_the_processor_is_spared_numbers_that_are_as_good_as_zero():
    pick_device("cpu")
    tiny = torch.full((8,), 1e-39)
    assert torch.equal(tiny * 1.0, torch.zeros(8))
    assert torch.all(torch.full((8,), 1e-37) * 1.0 > 0)


@pytest.mark.parametrize("name", ["no-such", "cuda:77"])
def test_a_device_that_is_not_there_is_named(name):
    with pytest.raises(MachineError, match=name):
        pick_device(name)
