"""What an item's users say of its themes, beside its features.

Features are noisy: that users with an interest in a theme chose an item says that it belongs there. Choices, items and
users make a graph, and the messages are those of belief propagation on it (Pearl 1988, ch. 4): a choice tells its item
the likelihood of each theme, ``Channel.says``; an item's memberships are its features' times what all its choices
told; and what a user hears of an item leaves out what the user told of it (the cavity), so that no choice is evidence
for itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from demure.model.channel import View
from demure.model.context import Context
from demure.model.denoiser import Denoiser, Inferred
from demure.training.batches import by_length

if TYPE_CHECKING:
    from demure.data.dataset import Histories
    from demure.training.watch import Watch

_LONGEST = 2000
_CELLS = 1_500_000
_NUMBERS = 400_000_000  # interactions x themes, all modalities: 1.6 GB


@dataclass(frozen=True)
class Block:
    """Users of similar history length: ``valid_BT``, the interactions' numbers ``at_BT`` (any where not valid), what
    was found of them, and under which views."""

    valid_BT: np.ndarray
    at_BT: np.ndarray
    context: Context
    views: list[View]
    found: Inferred


def finished(
    denoiser: Denoiser, train: Histories, told: list[Tensor] | None, longest: int | None = None
) -> Iterator[tuple[int, Block]]:
    """Leave-one-out over whole histories, users in blocks, with the number of histories in each. A history of more than
    ``longest`` interactions (2,000) is cut into equal parts of at most so many, each judged by itself. ``told`` by
    :func:`hear`."""
    longest = longest or _LONGEST
    parts = _parts(train, longest)
    views = denoiser.views()
    device = denoiser.popularity_I.device
    for block in by_length(parts, np.flatnonzero(np.diff(parts.indptr) > 0), _CELLS, longest):
        items_BT = parts.padded(block)
        valid_BT = items_BT >= 0
        at_BT = parts.indptr[block][:, None] + np.arange(items_BT.shape[1])
        own = None
        if told is not None:
            rows = torch.as_tensor(np.where(valid_BT, at_BT, 0))
            own = [said_NC[rows].to(device) for said_NC in told]
        context = denoiser.context(torch.as_tensor(items_BT).to(device))
        yield len(block), Block(valid_BT, at_BT, context, views, denoiser.infer(context, views, own))


def histories_in(train: Histories) -> int:
    """How many :func:`finished` goes through."""
    return int((np.diff(_parts(train, _LONGEST).indptr) > 0).sum())


@torch.no_grad()
def hear(denoiser: Denoiser, train: Histories, watch: Watch, passes: int) -> list[Tensor] | None:
    """Let the items hear their choices, ``passes`` times at most, as long as the validation likelihood gains.

    Leaves the sums with the items (``Themes.offset_IC``) and returns what each training interaction told, (N, C) for
    each modality; None if nothing was gained, or the catalogue or the histories are too large to hold it. Users that
    the watch keeps from training tell nothing; long histories speak in parts as long as those it learned from.
    """
    themes = [channel.themes for channel in denoiser.experts()]
    if not passes or denoiser.large or len(train.items) * sum(len(one.bias) for one in themes) > _NUMBERS:
        return None
    told, best = None, watch.log_likelihood(denoiser)
    items_N = torch.as_tensor(train.items)
    speaks_N = torch.as_tensor(np.repeat(np.isin(np.arange(len(train.indptr) - 1), watch.kept), np.diff(train.indptr)))
    for _ in range(passes):
        before = [one.offset_IC.clone() for one in themes]
        saying = [said_NC * speaks_N[:, None] for said_NC in _said(denoiser, train, told, watch.longest)]
        for one, said_NC in zip(themes, saying, strict=True):
            one.offset_IC.copy_(torch.zeros(one.offset_IC.shape).index_add_(0, items_N, said_NC))
        value = watch.log_likelihood(denoiser, saying)
        if value <= best:
            for one, offset_IC in zip(themes, before, strict=True):
                one.offset_IC.copy_(offset_IC)
            break
        told, best = saying, value
    return told


def _said(denoiser: Denoiser, train: Histories, told: list[Tensor] | None, longest: int) -> list[Tensor]:
    saying = [torch.zeros(len(train.items), len(channel.themes.bias)) for channel in denoiser.experts()]
    for _, block in finished(denoiser, train, told, longest):
        valid_BT = torch.as_tensor(block.valid_BT)
        rows = torch.as_tensor(block.at_BT)[valid_BT]
        for said_NC, said_BTC in zip(saying, denoiser.says(block.found, block.views), strict=True):
            said_NC[rows] = said_BTC.cpu()[valid_BT]
    return saying


def _parts(histories: Histories, longest: int) -> Histories:
    """The same interactions, each history cut into as few parts of about equal length as ``longest`` allows."""
    length = np.diff(histories.indptr)
    cuts = np.maximum(1, -(-length // longest))
    user = np.repeat(np.arange(len(length)), cuts)
    nth = np.arange(len(user)) - (np.cumsum(cuts) - cuts)[user]
    start = histories.indptr[user] + nth * length[user] // cuts[user]
    return type(histories)(np.append(start, histories.indptr[-1]), histories.items, histories.times)
