"""Halve batches that do not fit into memory: an encoder that runs out of memory gets smaller batches from then on."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class HalvingEncoder:
    """An encoder whose ``encode`` takes any number of inputs and splits them into batches that fit into memory."""

    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder
        self.batch: int = encoder.batch
        self.limit = sys.maxsize

    def prepare(self, image: Any) -> Any:
        """Return what the encoder's own ``prepare`` returns."""
        return self.encoder.prepare(image)

    def encode(self, inputs: Sequence[Any]) -> np.ndarray:
        """Return (n, D) float32. Raises the encoder's own error if even one input does not fit."""
        return self.submit(inputs)()

    def submit(self, inputs: Sequence[Any]) -> Callable[[], np.ndarray]:
        """Start to encode; return a function that waits for the vectors (n, D) float32. Raises as ``encode`` does."""
        vectors: list[Callable[[], np.ndarray]] = []
        start = 0
        while start < len(inputs):
            batch = inputs[start : start + self.limit]
            try:
                vectors.append(self._submit(batch))
            except Exception as error:
                if len(batch) == 1 or not _is_out_of_memory(error):
                    raise
                self.limit = max(1, len(batch) // 2)
            else:
                start += len(batch)
                continue
            _free_memory()  # outside of the handler: the error holds on to the tensors
        return vectors[0] if len(vectors) == 1 else lambda: np.concatenate([part() for part in vectors])

    def _submit(self, batch: Sequence[Any]) -> Callable[[], np.ndarray]:
        if hasattr(self.encoder, "submit"):
            waiting: Callable[[], np.ndarray] = self.encoder.submit(batch)
            return waiting
        vectors: np.ndarray = self.encoder.encode(batch)
        return lambda: vectors


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"  # torch's class, recognised without importing torch
        or (isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text))
    )


def _free_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
