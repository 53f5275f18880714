"""Choose the device that computes."""

from __future__ import annotations

import torch

from demure.errors import MachineError


def pick_device(name: str, *, mps: bool = False) -> torch.device:
    """Return the device ``name``; ``auto`` is CUDA where the machine has it, else MPS if ``mps``, else the CPU.

    Raises ``MachineError`` for a device that this machine lacks.
    """
    if name == "auto":
        if mps and not torch.cuda.is_available() and torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise MachineError(
            f"cannot compute on {name!r} here ({str(error).splitlines()[0]})",
            where="--device",
            remedy="use auto or cpu",
        ) from error
    return device
