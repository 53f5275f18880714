"""One gradient step, the same for every model, alone or as part of a team."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from demure.compute.process_group import Team
from demure.errors import RunError


class Optimizer:
    """Adam over ``groups`` of parameters. ``rowwise`` are those whose gradients are sparse, a few rows of a large table
    a step: they get Adam's sparse form, which leaves all other rows and their moments as they are."""

    def __init__(self, groups: Sequence[dict[str, Any]], rowwise: Sequence[nn.Parameter], team: Team) -> None:
        apart = {id(parameter) for parameter in rowwise}
        self.optimisers: list[torch.optim.Optimizer] = []
        for kind, sparse in ((torch.optim.Adam, False), (torch.optim.SparseAdam, True)):
            parts = [{**one, "params": [p for p in one["params"] if (id(p) in apart) == sparse]} for one in groups]
            if any(one["params"] for one in parts):
                self.optimisers.append(kind([one for one in parts if one["params"]]))
        self.team = team

    def step(self, loss: Tensor | None, where: str, remedy: str, clip: float | None = None) -> float:
        """Go down ``loss``, this process' part of a sum over the team (None: it has none); return the sum.

        Raises ``RunError`` that says ``where`` and the ``remedy`` if it is not finite; then nothing has changed.
        """
        parameters = [p for one in self.optimisers for group in one.param_groups for p in group["params"]]
        learned = [p for p in parameters if p.requires_grad]
        value = torch.zeros((), dtype=torch.float64) if loss is None else loss.detach().double()
        if self.team.size == 1 and not math.isfinite(float(value)):
            raise _not_finite(float(value), where, remedy)
        for one in self.optimisers:
            one.zero_grad()
        if loss is not None:
            loss.backward()
        if self.team.size > 1:
            value = value.to(learned[0].device)
            self.team.add_up([value])
            if not math.isfinite(float(value)):
                raise _not_finite(float(value), where, remedy)
            self.team.add_up([_gradient(parameter) for parameter in learned])
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(parameters, clip)
        for one in self.optimisers:
            one.step()
        return float(value)

    def state(self) -> dict[str, Tensor]:
        """The moments of all optimisers, by name."""
        return {
            f"{k}.{index}.{name}": torch.as_tensor(value)
            for k, one in enumerate(self.optimisers)
            for index, state in one.state_dict()["state"].items()
            for name, value in state.items()
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take up what :meth:`state` gave."""
        for k, one in enumerate(self.optimisers):
            held = one.state_dict()
            for name, tensor in tensors.items():
                which, index, key = name.split(".", 2)
                if int(which) == k:
                    # SparseAdam counts its steps with a Python number, Adam with a tensor.
                    counted = key == "step" and not tensor.is_floating_point()
                    held["state"].setdefault(int(index), {})[key] = int(tensor) if counted else tensor
            one.load_state_dict(held)

    def forget(self) -> None:
        """Start anew, without moments."""
        for one in self.optimisers:
            one.state.clear()


def _gradient(parameter: nn.Parameter) -> Tensor:
    """What travels: a dense gradient whole, of a sparse one the rows that all processes touched alike."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad._values() if parameter.grad.is_sparse else parameter.grad


def _not_finite(value: float, where: str, remedy: str) -> RunError:
    return RunError(
        f"the loss is {value} in {where}", remedy=f"the last good epoch is kept; lower {remedy} and start again"
    )
