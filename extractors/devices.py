"""Where a torch encoder runs."""

from __future__ import annotations

import torch

from demure.errors import MachineError


def device(name: str) -> torch.device:
    """``auto`` is CUDA, else MPS, else the CPU. Raises ``MachineError`` for a device that is not here."""
    if name == "auto":
        best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(best)
    try:
        chosen = torch.device(name)
        torch.zeros(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise MachineError(f"device {name!r} is not here", where="--device", remedy="use auto or cpu") from error
    return chosen
