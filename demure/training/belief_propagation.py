"""Belief propagation between items and their choices: what the users of an item imply about its clusters.

Features are noisy; that users with an interest in a cluster chose an item is evidence that the item belongs there.
Choices, items and users make a graph, and the messages are those of belief propagation on it (Pearl 1988, ch. 4): a
choice sends its item the likelihood of each cluster; an item's memberships are those of its features times the messages
of all its choices; and for the user of a choice the message of that choice is left out of them (the cavity), so that no
choice is evidence for itself.

Shape suffixes: N training interactions, I items, C clusters, B users of a batch, T positions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from demure.model.blocks import infer_blocks
from demure.model.denoiser import Denoiser
from demure.progress import Listener, Steps, silent
from demure.training.stages import MESSAGES

if TYPE_CHECKING:
    from demure.data.histories import Histories
    from demure.training.rivals import Rivals
    from demure.training.validation import Validation


@torch.no_grad()
def propagate_beliefs(
    denoiser: Denoiser,
    validation: Validation,
    max_passes: int,
    listener: Listener = silent,
) -> list[Tensor] | None:
    """Add to each item's cluster memberships the messages of its choices, as long as the validation likelihood gains.

    At most ``max_passes`` passes. The sums of the messages stay with the items (``ClusterExpert.offset_IC``). Returns
    the message of each training interaction, (N, C) for each modality; None if no pass was a gain. Users whom
    validation withholds from training send no messages; histories longer than those of training are split.
    """
    train = validation.train
    experts = [channel.clusters for channel in denoiser.experts()]
    if not max_passes:
        return None
    parts = train.split_long(validation.longest)
    messages, best = None, validation.log_likelihood(denoiser)
    items_N = torch.as_tensor(train.items)
    sends_N1 = torch.as_tensor(np.isin(train.owners, validation.training_users))[:, None]
    report = Steps(listener, MESSAGES, max_passes)
    for _ in range(max_passes):
        before = [expert.offset_IC.clone() for expert in experts]
        new = [message_NC.mul_(sends_N1) for message_NC in _messages(denoiser, parts, messages, validation.rivals)]
        for expert, message_NC in zip(experts, new, strict=True):
            expert.offset_IC.copy_(torch.zeros(expert.offset_IC.shape).index_add_(0, items_N, message_NC))
        value = validation.log_likelihood(denoiser, new)
        report()
        if value <= best:
            for expert, offset_IC in zip(experts, before, strict=True):
                expert.offset_IC.copy_(offset_IC)
            break
        messages, best = new, value
    return messages


def _messages(denoiser: Denoiser, train: Histories, previous: list[Tensor] | None, rivals: Rivals) -> list[Tensor]:
    """Return the messages (N, C) of one pass for each modality, given those of the ``previous`` pass."""
    messages = [torch.zeros(len(train.items), len(channel.clusters.bias)) for channel in denoiser.experts()]
    for block in infer_blocks(denoiser, train, previous, rivals):
        interactions_BT = torch.as_tensor(block.interactions_BT)
        valid_BT = interactions_BT >= 0
        for message_NC, block_BTC in zip(messages, denoiser.messages(block.inferred, block.views), strict=True):
            message_NC[interactions_BT[valid_BT]] = block_BTC.cpu()[valid_BT]
    return messages
