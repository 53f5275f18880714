"""Where a torch encoder runs, and in which precision."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from demure.errors import MachineError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


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


def precision(name: str, device: torch.device) -> str:
    """``auto`` is float32, on CUDA bfloat16 (float16 where the card has none). Raises ``MachineError`` for another."""
    if name == "auto":
        if device.type != "cuda":
            return "float32"
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    if name not in PRECISIONS:
        raise MachineError(
            f"unknown precision {name!r}", where="--precision", remedy=f"use auto, {', '.join(PRECISIONS)}"
        )
    return name


@contextlib.contextmanager
def computing(device: torch.device, precision: str) -> Iterator[None]:
    """No gradients; matrix products in ``precision``, weights as they are."""
    with torch.inference_mode(), contextlib.ExitStack() as stack:
        if precision != "float32":
            stack.enter_context(torch.autocast(device.type, PRECISIONS[precision]))
        yield


def stacked(prepared: Sequence[Any] | np.ndarray, device: torch.device) -> torch.Tensor:
    """One batch on ``device``."""
    batch = torch.from_numpy(prepared) if isinstance(prepared, np.ndarray) else torch.stack(list(prepared))
    if device.type == "cuda":
        batch = batch.pin_memory()
    return batch.to(device, non_blocking=True)


def batch_size(device: torch.device, cpu: int, accelerator: int) -> int:
    """Inputs to encode at a time: what was fastest, see benchmarks/LOG.md."""
    return cpu if device.type == "cpu" else accelerator
