"""One gradient step, the same for every model, alone or in one of several processes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from demure.compute.process_group import ProcessGroup
from demure.errors import RunError


class Optimizer:
    """Adam over ``groups`` of parameters, as torch takes them.

    The ``rowwise`` parameters have sparse gradients, a few rows of a large table in a step: they get Adam's sparse
    form, which leaves all other rows and their moments unchanged. ``foreach``: whether a step takes all parameters of a
    group at once; as torch thinks best where None, which is on accelerators.
    """

    def __init__(
        self,
        groups: Sequence[dict[str, Any]],
        rowwise: Sequence[nn.Parameter],
        processes: ProcessGroup,
        *,
        foreach: bool | None = None,
    ) -> None:
        rowwise_ids = {id(parameter) for parameter in rowwise}
        self.processes, self._foreach = processes, foreach
        self._parts: list[_Adam | torch.optim.Optimizer] = []
        for kind, sparse in ((partial(_Adam, foreach=foreach), False), (torch.optim.SparseAdam, True)):
            own = [
                {**group, "params": [p for p in group["params"] if (id(p) in rowwise_ids) == sparse]}
                for group in groups
            ]
            own = [group for group in own if group["params"]]
            if own:
                self._parts.append(kind(own))

    def step(
        self,
        loss: Tensor | None,
        where: str,
        remedy: str,
        clip: float | None = None,
        gradients: Sequence[tuple[nn.Parameter, Tensor]] | None = None,
    ) -> float:
        """Take a step down the sum of ``loss`` over all processes, and return the sum.

        ``loss`` is the part of this process, None where it has none; ``clip``: maximum length of the whole gradient;
        ``gradients``: those of the ``loss``, where they are known already.
        Raises ``RunError`` with ``where`` and the ``remedy`` if the sum is not finite; then nothing has changed.
        """
        parameters = [p for part in self._parts for group in part.param_groups for p in group["params"]]
        learned = [p for p in parameters if p.requires_grad]
        value = torch.zeros((), dtype=torch.float64) if loss is None else loss.detach().double()
        if self.processes.size == 1 and not math.isfinite(float(value)):
            raise _not_finite(float(value), where, remedy)
        for part in self._parts:
            part.zero_grad()
        if gradients is not None:
            for parameter, gradient in gradients:
                parameter.grad = gradient
        elif loss is not None:
            loss.backward()  # type: ignore[no-untyped-call]
        if self.processes.size > 1:
            value = value.to(learned[0].device)
            self.processes.all_reduce([value])
            if not math.isfinite(float(value)):
                raise _not_finite(float(value), where, remedy)
            self.processes.all_reduce([_gradient(parameter) for parameter in learned])
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(parameters, clip, foreach=self._foreach)
        for part in self._parts:
            part.step()
        return float(value)

    def state(self) -> dict[str, Tensor]:
        """Return the moments of all parameters, by name."""
        return {
            f"{number}.{index}.{name}": torch.as_tensor(value)
            for number, part in enumerate(self._parts)
            for index, state in part.state_dict()["state"].items()
            for name, value in state.items()
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Restore what :meth:`state` returned."""
        for number, part in enumerate(self._parts):
            state_dict = part.state_dict()
            for name, tensor in tensors.items():
                part_number, index, key = name.split(".", 2)
                if int(part_number) == number:
                    # SparseAdam counts its steps with a Python number, Adam with a tensor.
                    counted = key == "step" and not tensor.is_floating_point()
                    state_dict["state"].setdefault(int(index), {})[key] = int(tensor) if counted else tensor
            part.load_state_dict(state_dict)

    def reset(self) -> None:
        """Forget all moments."""
        for part in self._parts:
            part.state.clear()


class _Adam:
    """Adam with the settings that torch has by default, of the same interface as ``torch.optim.Adam``.

    The steps are torch's own. Only its class is not used: to make an instance imports torch's compiler, which takes two
    seconds at every start and then does nothing.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], foreach: bool | None = None) -> None:
        self._foreach = foreach
        self.param_groups = [{"lr": 1e-3, **group, "params": list(group["params"])} for group in groups]
        self.state: dict[nn.Parameter, dict[str, Tensor]] = {}

    def zero_grad(self) -> None:
        for parameter in self._parameters():
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            learned = [parameter for parameter in group["params"] if parameter.grad is not None]
            for parameter in learned:
                if parameter not in self.state:
                    moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
                    self.state[parameter] = {"step": torch.zeros(()), **moments}
            states = [self.state[parameter] for parameter in learned]
            adam(
                learned,
                [parameter.grad for parameter in learned if parameter.grad is not None],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                [state["step"] for state in states],
                foreach=self._foreach,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=group["lr"],
                weight_decay=0.0,
                eps=1e-8,
                maximize=False,
            )

    def state_dict(self) -> dict[str, Any]:
        numbered = enumerate(self._parameters())
        return {"state": {number: self.state[parameter] for number, parameter in numbered if parameter in self.state}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        parameters = self._parameters()
        for number, state in state_dict["state"].items():
            device = parameters[number].device
            self.state[parameters[number]] = {
                name: value.clone() if name == "step" else value.to(device, copy=True) for name, value in state.items()
            }

    def _parameters(self) -> list[nn.Parameter]:
        return [parameter for group in self.param_groups for parameter in group["params"]]


def _gradient(parameter: nn.Parameter) -> Tensor:
    """Return what processes exchange: a dense gradient, or of a sparse one the rows, which are the same in all."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad._values() if parameter.grad.is_sparse else parameter.grad


def _not_finite(value: float, where: str, remedy: str) -> RunError:
    return RunError(
        f"the loss is {value} in {where}", remedy=f"the last good epoch is kept; lower {remedy} and start again"
    )
