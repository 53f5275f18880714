"""Choose the device that computes."""

from __future__ import annotations

import torch

from demure.errors import MachineError


def pick_device(name: str, *, mps: bool = False) -> torch.device:
    """Return the device ``name``; ``auto`` is CUDA where the machine has it, else MPS if ``mps``, else the CPU.

    ``mps``: whether the work can run on Apple's GPUs, which have no numbers of 64 bits. Raises ``MachineError`` for a
    device that this machine lacks, or that cannot do the work.
    """
    if name == "auto":
        if mps and not torch.cuda.is_available() and torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type == "mps" and not mps:
            raise MachineError(
                "has no numbers of 64 bits, with which demure trains and ranks", where="--device mps", remedy="use cpu"
            )
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise MachineError(
            f"cannot compute on {name!r} here ({str(error).splitlines()[0]})",
            where="--device",
            remedy="use auto or cpu",
        ) from error
    return device
