"""How a torch encoder computes: device, precision, batches."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from demure.compute.device import pick_device
from demure.errors import MachineError

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class TorchSettings:
    """The ``device``, the ``precision``, and the ``batch`` size that a torch encoder computes with."""

    def __init__(self, device: str, precision: str) -> None:
        """Read the values of ``--device`` and ``--precision``. Raises ``MachineError`` for what this machine lacks."""
        self.device = pick_device(device, mps=True)
        self.precision = _precision(precision, self.device)
        # The fastest sizes, see benchmarks/LOG.md.
        self.batch = 32 if self.device.type == "cpu" else 256

    @contextlib.contextmanager
    def inference(self) -> Iterator[None]:
        """Compute without gradients, matrix products in ``precision``, weights as they are."""
        with torch.inference_mode(), contextlib.ExitStack() as stack:
            if self.precision != "float32":
                stack.enter_context(torch.autocast(self.device.type, PRECISIONS[self.precision]))
            yield

    def to_batch(self, prepared: Sequence[Any] | np.ndarray) -> torch.Tensor:
        """Return prepared images as one batch on the device."""
        batch = torch.from_numpy(prepared) if isinstance(prepared, np.ndarray) else torch.stack(list(prepared))
        if self.device.type == "cuda":
            batch = batch.pin_memory()
        return batch.to(self.device, non_blocking=True)

    def deliver(self, vectors: torch.Tensor) -> Callable[[], np.ndarray]:
        """Return a function that waits for ``vectors`` (n, D), and for no later work, and gives them as float32."""
        if self.device.type != "cuda":
            array: np.ndarray = vectors.float().cpu().numpy()
            return lambda: array
        copied = vectors.float().to("cpu", non_blocking=True)  # torch takes pinned memory for it
        done: Any = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record(torch.cuda.current_stream(self.device))

        def wait() -> np.ndarray:
            done.synchronize()
            return copied.numpy()

        return wait


def _precision(name: str, device: torch.device) -> str:
    """Return one of ``PRECISIONS``; ``auto`` is bfloat16 on CUDA (float16 where the card lacks it), else float32."""
    if name == "auto":
        if device.type != "cuda":
            return "float32"
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    if name not in PRECISIONS:
        raise MachineError(
            f"unknown precision {name!r}", where="--precision", remedy=f"use auto, {', '.join(PRECISIONS)}"
        )
    return name
