"""Flush denormal floating-point numbers to zero: they are slow, and as good as zero."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def flush_denormals() -> Iterator[None]:
    """Within the context, let this thread and the threads that it starts treat numbers below 1e-38 as 0.

    Also a decorator. An item's membership in a distant cluster is such a number, and the processor takes some twenty
    times as long for it (benchmarks/LOG.md, "Engine"). On exit the previous mode is restored: other libraries rely on
    it.
    """
    before = float(torch.tensor(1e-39, dtype=torch.float32, device="cpu") * 1.0) == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
