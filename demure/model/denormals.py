"""Numbers that are as good as zero, and slow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def subnormals_are_zero() -> Iterator[None]:
    """Meanwhile this thread, and those it starts, take numbers below 1e-38 for 0; also a decorator.

    An item's membership in a theme far away is such a number, and the processor takes some twenty times as long for
    them (benchmarks/LOG.md, "Engine"). Afterwards all is as it was: other libraries rely on them.
    """
    before = float(torch.tensor(1e-39, dtype=torch.float32, device="cpu") * 1.0) == 0.0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)
