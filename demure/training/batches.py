"""Histories as padded batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from demure.data.histories import Histories

_GROUP_CELLS = 60_000  # what one more group of a batch costs, in cells: measured in benchmarks/LOG.md


def pieces(histories: Histories, users: np.ndarray, longest: int, generator: torch.Generator) -> np.ndarray:
    """(B, T) as ``Histories.places``, but a random contiguous piece of each history, at most ``longest`` long."""
    start, stop = histories.indptr[users], histories.indptr[users + 1]
    length = np.minimum(stop - start, longest)
    room = torch.rand(len(users), generator=generator, dtype=torch.float64).numpy() * (stop - start - length + 1)
    first = start + room.astype(np.int64)
    column = np.arange(max(int(length.max(initial=0)), 1))
    inside = column < length[:, None]
    return np.where(inside, first[:, None] + column, -1)


def hide(items_BT: np.ndarray, share: float, generator: torch.Generator) -> Tensor:
    """(B, T) bool, True where a position may be known: about ``share`` of each history is hidden, at least one."""
    valid = torch.as_tensor(items_BT >= 0)
    order = torch.rand(valid.shape, generator=generator).masked_fill(~valid, 2.0)
    hidden = (order < share) | (order == order.min(dim=1, keepdim=True).values)
    return ~hidden


def shorter(items_BT: np.ndarray) -> list[np.ndarray]:
    """The rows of a padded batch in a few groups of similar length, so that cells of padding are not computed: as long
    as a cut saves more cells, each group's users x its longest x its longest, than a group costs by itself."""
    length = np.maximum((items_BT >= 0).sum(1), 1)
    order = np.argsort(length, kind="stable")
    cells = length[order].astype(np.int64) ** 2

    def cut(first: int, stop: int) -> list[np.ndarray]:
        size = np.arange(1, stop - first)
        saved = size * (cells[stop - 1] - cells[first : stop - 1])
        best = int(saved.argmax()) if len(saved) else 0
        if not len(saved) or saved[best] <= _GROUP_CELLS:
            return [order[first:stop]]
        return cut(first, first + best + 1) + cut(first + best + 1, stop)

    return cut(0, len(order)) if len(order) else []


def gather_messages(told: list[Tensor], at_BT: np.ndarray, device: torch.device) -> list[Tensor]:
    """What the interactions ``at_BT``, none where -1, told of their items, (B, T, C) for each modality, of ``told``
    (N, C)."""
    rows_BT, is_BT1 = torch.as_tensor(np.maximum(at_BT, 0)), torch.as_tensor(at_BT >= 0)[..., None]
    return [(said_NC[rows_BT] * is_BT1).to(device) for said_NC in told]


def append(items_BT: np.ndarray, targets_B: Sequence[int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each padded history with one more item at its end, (B, T + 1), and a bool mask that is False at that item."""
    length = (items_BT >= 0).sum(1)
    out = np.concatenate([items_BT, np.full((len(items_BT), 1), -1)], axis=1)
    rows = np.arange(len(out))
    out[rows, length] = targets_B
    known = np.ones(out.shape, bool)
    known[rows, length] = False
    return out, known
