"""Sums of rows by group, on the device of a model: users, items and pairs of items over the interactions.

Sums on an accelerator that run in any order give other bits every time. So the rows of each group are added one after
another, on every device; long groups are divided there, and their parts added.

Shape suffixes: N rows, G groups, P parts of groups, C columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import scipy.sparse as sparse
import torch
import torch.nn.functional as F
from torch import Tensor

_BY_SCIPY = ("cpu",)
"""Types of devices on which SciPy and bincount add: in two thirds of the time of the others (benchmarks/LOG.md)."""
_LONGEST_PART = 1024
_BLOCK = 2**22  # rows that an accelerator computes at once: 800 MB for an array of 24 columns


def index_tensor(index: np.ndarray, device: torch.device) -> Tensor:
    """Return indices as int32 where their values allow it: half the memory, of arrays as long as a log."""
    small = not len(index) or int(index.max()) < 2**31
    return torch.as_tensor(index.astype(np.int32 if small else np.int64, copy=False)).to(device)


class GroupSums:
    """Sums over the ``groups`` of N rows; ``group_N`` is the group of each row, a tensor of any integer type."""

    def __init__(self, group_N: Tensor, groups: int) -> None:
        self.group_N, self.groups = group_N, groups
        self._by_scipy = group_N.device.type in _BY_SCIPY

    def __call__(self, weight_N: Tensor) -> Tensor:
        """Return the sum of ``weight_N`` in each group (G,)."""
        if self._by_scipy:
            return torch.bincount(self.group_N, weight_N, self.groups)
        return torch.segment_reduce(weight_N.index_select(0, self._order_N), "sum", offsets=self._starts_G1)

    def of_columns(self, value_NC: Tensor, weight_N: Tensor | None = None) -> Tensor:
        """Return the sum of ``weight_N`` times ``value_NC`` in each group (G, C); all weights are 1 by default."""
        if self._by_scipy:
            weight = np.ones(len(value_NC)) if weight_N is None else weight_N.numpy()[self._order_N.numpy()]
            places = self._order_N.numpy(), self._starts_G1.numpy()
            sums = sparse.csr_array((weight, *places), (self.groups, len(value_NC)))
            return torch.as_tensor(sums @ value_NC.numpy())
        weight_N = value_NC.new_ones(len(value_NC)) if weight_N is None else weight_N.index_select(0, self._order_N)
        starts_P1, parts_of_G1 = self._parts
        part_PC = _bag_sums(self._order_N, value_NC, starts_P1, weight_N)
        every_P = torch.arange(len(part_PC), device=part_PC.device)
        return _bag_sums(every_P, part_PC, parts_of_G1, torch.ones_like(part_PC[:, 0]))

    @cached_property
    def _order_N(self) -> Tensor:
        """The rows group by group, those of one group in their order."""
        order_N = torch.sort(self.group_N, stable=True).indices
        return order_N.to(torch.int32) if len(order_N) < 2**31 else order_N

    @cached_property
    def _starts_G1(self) -> Tensor:
        """Where each group begins in the order (G + 1,), and where the last one ends."""
        return _starts(torch.bincount(self.group_N, minlength=self.groups))

    @cached_property
    def _parts(self) -> tuple[Tensor, Tensor]:
        """Where the parts of the groups begin in the order (P + 1,), and the groups among the parts (G + 1,)."""
        starts_G1 = self._starts_G1
        parts_G = (starts_G1.diff() + _LONGEST_PART - 1) // _LONGEST_PART
        parts_of_G1 = _starts(parts_G)
        group_P = torch.repeat_interleave(parts_G)
        within_P = torch.arange(len(group_P), device=group_P.device) - parts_of_G1[group_P]
        starts_P = starts_G1[group_P] + _LONGEST_PART * within_P
        return torch.cat([starts_P, starts_G1[-1:]]), parts_of_G1


def row_blocks(count: int, device: torch.device, on_cpu: int) -> Iterator[slice]:
    """Yield slices of ``count`` rows: ``on_cpu`` rows each on a CPU, where they stay in its cache, else many more."""
    size = on_cpu if device.type in _BY_SCIPY else _BLOCK
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _starts(size_G: Tensor) -> Tensor:
    return F.pad(size_G.cumsum(0), (1, 0))


def _bag_sums(row_N: Tensor, value_JC: Tensor, starts_G1: Tensor, weight_N: Tensor) -> Tensor:
    """Return the weighted sums of the rows of each bag (G, C), added in their order."""
    return F.embedding_bag(
        row_N, value_JC, starts_G1.to(row_N.dtype), mode="sum", per_sample_weights=weight_N, include_last_offset=True
    )
