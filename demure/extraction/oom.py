"""Batches that fit: an encoder that runs out of memory is given half as much at a time from then on."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np


class Careful:
    """An encoder whose ``encode`` takes any number of inputs, in as many steps as memory asks for."""

    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder
        self.batch: int = encoder.batch
        self.most = sys.maxsize

    def prepare(self, image: Any) -> Any:
        """The encoder's own."""
        return self.encoder.prepare(image)

    def encode(self, inputs: Sequence[Any]) -> np.ndarray:
        """(n, d) float32. Raises what the encoder raises if even one input is too much."""
        made = []
        at = 0
        while at < len(inputs):
            some = inputs[at : at + self.most]
            try:
                made.append(self.encoder.encode(some))
            except Exception as error:
                if len(some) == 1 or not _too_much(error):
                    raise
                self.most = max(1, len(some) // 2)
            else:
                at += len(some)
                continue
            _let_go()  # outside of the handler: the error holds on to the tensors
        return made[0] if len(made) == 1 else np.concatenate(made)


def _too_much(error: Exception) -> bool:
    text = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"  # torch's, known without importing torch
        or (isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text))
    )


def _let_go() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
