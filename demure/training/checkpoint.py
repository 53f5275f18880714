"""Where a training stands, in one safetensors file, so that it goes on exactly as if it had never stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from demure.errors import RunError
from demure.files import atomic_file


def save(
    path: Path,
    signature: str,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
    best: dict[str, Tensor],
    log: dict[str, Any],
) -> None:
    """Write the model, its best state so far, the optimiser and the random numbers; ``signature`` says what of."""
    tensors = {f"model.{name}": tensor for name, tensor in module.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    tensors["generator"] = generator.get_state()
    told = {"signature": signature, "log": json.dumps(log)}
    with atomic_file(path) as part:
        save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, part, metadata=told)


def restore(
    path: Path, signature: str, module: nn.Module, optimiser: torch.optim.Optimizer, generator: torch.Generator
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read ``save``'s file back into its arguments; returns the best state and the log. Raises ``RunError``."""
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            told = file.metadata() or {}
        tensors = load_file(path)
    except Exception as error:  # safetensors raises its own kind, which is no ValueError
        raise RunError(f"cannot be read ({error})", where=path, remedy="train again with --overwrite") from error
    if told.get("signature") != signature:
        raise RunError(
            "belongs to another dataset, recipe or seed", where=path, remedy="use the same ones, or --overwrite"
        )
    module.load_state_dict(_under(tensors, "model."))
    state = optimiser.state_dict()
    for name, tensor in _under(tensors, "adam.").items():
        index, key = name.split(".", 1)
        state["state"].setdefault(int(index), {})[key] = tensor
    optimiser.load_state_dict(state)
    generator.set_state(tensors["generator"])
    return _under(tensors, "best."), json.loads(told["log"])


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
