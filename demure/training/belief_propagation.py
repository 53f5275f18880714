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

from demure.model.batch import Context
from demure.model.denoiser import Denoiser, Inferred
from demure.model.modality import View
from demure.training.batches import gather_messages

if TYPE_CHECKING:
    from demure.data.histories import Histories
    from demure.training.rivals import Rivals
    from demure.training.validation import Validation

_CELLS = 1_500_000
_NUMBERS = 400_000_000  # interactions x themes, all modalities: 1.6 GB


@dataclass(frozen=True)
class Block:
    """Users of similar history length, ``users``: their interactions' numbers ``at_BT``, -1 after the end, what was
    found of them, and under which views."""

    users: np.ndarray
    at_BT: np.ndarray
    context: Context
    views: list[View]
    found: Inferred


def finished(
    denoiser: Denoiser,
    train: Histories,
    told: list[Tensor] | None,
    rivals: Rivals,
    only: np.ndarray | None = None,
) -> Iterator[Block]:
    """Leave-one-out over whole histories, users in blocks; cut long ones :func:`in_parts` before. ``told`` by
    :func:`propagate_beliefs`."""
    views = denoiser.views()
    device = denoiser.popularity_I.device
    length = train.lengths
    chosen = np.flatnonzero(length) if only is None else only[length[only] > 0]
    for users in train.group_by_length(chosen, _CELLS, int(length.max(initial=0))):
        at_BT = train.positions(users)
        own = None if told is None else gather_messages(told, at_BT, device)
        beside = rivals.beside(at_BT, device)
        context = denoiser.context(torch.as_tensor(train.padded(users)).to(device), beside=beside)
        yield Block(users, at_BT, context, views, denoiser.infer(context, views, own))


@torch.no_grad()
def propagate_beliefs(denoiser: Denoiser, watch: Validation, passes: int) -> list[Tensor] | None:
    """Let the items hear their choices, ``passes`` times at most, as long as the validation likelihood gains.

    Leaves the sums with the items (``Themes.offset_IC``) and returns what each training interaction told, (N, C) for
    each modality; None if nothing was gained, or the catalogue or the histories are too large to hold it. Users that
    the watch keeps from training tell nothing; long histories speak in parts as long as those it learned from.
    """
    train = watch.train
    themes = [channel.themes for channel in denoiser.experts()]
    if not passes or denoiser.large or len(train.items) * sum(len(one.bias) for one in themes) > _NUMBERS:
        return None
    parts = train.split_long(watch.longest)
    told, best = None, watch.log_likelihood(denoiser)
    items_N = torch.as_tensor(train.items)
    speaks_N = torch.as_tensor(np.repeat(np.isin(np.arange(len(train.indptr) - 1), watch.kept), train.lengths))
    for _ in range(passes):
        before = [one.offset_IC.clone() for one in themes]
        saying = [said_NC * speaks_N[:, None] for said_NC in _said(denoiser, parts, told, watch.rivals)]
        for one, said_NC in zip(themes, saying, strict=True):
            one.offset_IC.copy_(torch.zeros(one.offset_IC.shape).index_add_(0, items_N, said_NC))
        value = watch.log_likelihood(denoiser, saying)
        if value <= best:
            for one, offset_IC in zip(themes, before, strict=True):
                one.offset_IC.copy_(offset_IC)
            break
        told, best = saying, value
    return told


def _said(denoiser: Denoiser, train: Histories, told: list[Tensor] | None, rivals: Rivals) -> list[Tensor]:
    saying = [torch.zeros(len(train.items), len(channel.themes.bias)) for channel in denoiser.experts()]
    for block in finished(denoiser, train, told, rivals):
        at_BT = torch.as_tensor(block.at_BT)
        valid_BT = at_BT >= 0
        for said_NC, said_BTC in zip(saying, denoiser.says(block.found, block.views), strict=True):
            said_NC[at_BT[valid_BT]] = said_BTC.cpu()[valid_BT]
    return saying
