"""Where to compute."""

from __future__ import annotations

import torch

from demure.errors import MachineError


def pick_device(name: str) -> torch.device:
    """``auto`` is CUDA where there is one, else the CPU. Raises ``MachineError`` for a device this machine lacks."""
    if name == "auto":
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
