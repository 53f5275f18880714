"""Infer whole histories in blocks of users of similar history length.

Shape suffixes: N interactions, C clusters, B users of a block, T positions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from demure.model.batch import HistoryBatch, SideInformationSource
from demure.model.denoiser import Denoiser, Inference
from demure.model.modality import CatalogueView

if TYPE_CHECKING:
    from demure.data.histories import Histories

_MAX_CELLS = 1_500_000  # users x longest x longest of a block


@dataclass(frozen=True)
class InferredBlock:
    """Users of similar history length with the posterior of their interactions.

    ``users`` (B,) numbers of the histories; ``interactions_BT`` the numbers of their interactions, -1 after the end;
    ``inferred`` the posterior of ``batch`` under ``views``.
    """

    users: np.ndarray
    interactions_BT: np.ndarray
    batch: HistoryBatch
    views: list[CatalogueView]
    inferred: Inference


def infer_blocks(
    denoiser: Denoiser,
    histories: Histories,
    messages: list[Tensor] | None,
    source: SideInformationSource,
    only: np.ndarray | None = None,
) -> Iterator[InferredBlock]:
    """Yield the leave-one-out posterior of whole histories, in blocks of users.

    Long histories are to be split before (``Histories.split_long``). ``messages`` of belief propagation, (N, C) for
    each modality: those of a user's own interactions are left out of the items' cluster memberships; None for users who
    sent none. ``source``: periods and rival ratios. ``only`` these numbers of histories (all where None).
    """
    views = denoiser.views()
    device = denoiser.popularity_I.device
    lengths = histories.lengths
    users = np.flatnonzero(lengths) if only is None else only[lengths[only] > 0]
    for block in histories.group_by_length(users, _MAX_CELLS, int(lengths.max(initial=0))):
        interactions_BT = histories.interaction_indices(block)
        cavity_messages = None if messages is None else gather_messages(messages, interactions_BT, device)
        side = source.side_information(interactions_BT, device)
        batch = denoiser.make_batch(torch.as_tensor(histories.padded(block)).to(device), side_information=side)
        yield InferredBlock(block, interactions_BT, batch, views, denoiser.infer(batch, views, cavity_messages))


def gather_messages(messages: list[Tensor], interactions_BT: np.ndarray, device: torch.device) -> list[Tensor]:
    """Return the messages of the interactions ``interactions_BT``, (B, T, C) for each modality; 0 where -1.

    ``messages``: (N, C) for each modality, as ``training.belief_propagation.propagate_beliefs`` returns them.
    """
    rows_BT = torch.as_tensor(np.maximum(interactions_BT, 0))
    valid_BT1 = torch.as_tensor(interactions_BT >= 0)[..., None]
    return [(message_NC[rows_BT] * valid_BT1).to(device) for message_NC in messages]
