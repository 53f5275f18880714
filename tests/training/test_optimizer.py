"""The optimiser against torch's own class."""

import torch
from torch import nn

from demure.compute.process_group import ProcessGroup
from demure.training.optimizer import Optimizer


def parameters() -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in ((3, 2), (4,), ())]


def loss_of(parts: list[nn.Parameter], step: int) -> torch.Tensor:
    return sum((part * (step + 1) - 0.3).square().sum() for part in parts if part.requires_grad)


def groups(parts: list[nn.Parameter]) -> list[dict]:
    return [{"params": parts[:2], "lr": 0.03}, {"params": parts[2:], "lr": 0.2}]


def test_steps_are_those_of_torch():
    """Bit for bit, also after a parameter is held still, as before the offsets are trained."""
    own, expected = parameters(), parameters()
    optimizer, torch_optimizer = Optimizer(groups(own), (), ProcessGroup()), torch.optim.Adam(groups(expected))
    for step in range(12):
        own[1].requires_grad_(step < 6)
        expected[1].requires_grad_(step < 6)
        optimizer.step(loss_of(own, step), "a step", "the rates")
        torch_optimizer.zero_grad()
        loss_of(expected, step).backward()
        torch_optimizer.step()
        assert all(torch.equal(a, b) for a, b in zip(own, expected, strict=True))


def test_restored_it_goes_on_as_if_it_had_not_stopped():
    whole, stopped = parameters(), parameters()
    first = Optimizer(groups(whole), (), ProcessGroup())
    before = Optimizer(groups(stopped), (), ProcessGroup())
    for step in range(3):
        first.step(loss_of(whole, step), "a step", "the rates")
        before.step(loss_of(stopped, step), "a step", "the rates")
    after = Optimizer(groups(stopped), (), ProcessGroup())
    after.restore({name: tensor.clone() for name, tensor in before.state().items()})
    for step in range(3, 6):
        first.step(loss_of(whole, step), "a step", "the rates")
        after.step(loss_of(stopped, step), "a step", "the rates")
    assert all(torch.equal(a, b) for a, b in zip(whole, stopped, strict=True))
    assert first.state().keys() == after.state().keys()
