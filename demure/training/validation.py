"""Validation of the denoiser during a training: the likelihood of interactions that training never reads.

Shape suffixes: N training interactions, B users of a batch, T positions, C clusters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from demure.compute.process_group import ProcessGroup
from demure.model.blocks import gather_messages
from demure.model.denoiser import Denoiser
from demure.training.batches import append_targets, draw_observed

if TYPE_CHECKING:
    from demure.data.histories import Histories
    from demure.training.rivals import Rivals

_MAX_CELLS = 2_000_000  # users x longest x longest of a batch
_SHARE_WITHOUT_SPLIT = 0.1


class Validation:
    """Held-out targets of at most ``most`` users; the ``training_users`` may be trained on.

    With a validation split, the target of a user is the first validation interaction, given the training history.
    Without one, a tenth of the users is withheld from training; their targets are a masked share ``held_out`` of
    their history, given the rest. Histories are cut to their last ``longest`` interactions. Each of the ``processes``
    does its part.
    """

    def __init__(
        self,
        rivals: Rivals,
        valid: Histories,
        *,
        most: int,
        longest: int,
        held_out: float,
        seed: int,
        processes: ProcessGroup | None = None,
    ) -> None:
        train = rivals.train
        rng = np.random.default_rng(seed)
        self.rivals, self.train, self.valid, self.longest = rivals, train, valid, longest
        self.held_out, self.seed, self.processes = held_out, seed, processes or ProcessGroup()
        trainable = np.flatnonzero(train.lengths >= 2)
        users = np.flatnonzero((valid.lengths > 0) & (train.lengths > 0))
        self.by_split = len(users) > 0
        if self.by_split:
            self.users = np.sort(rng.choice(users, min(most, len(users)), replace=False))
            self.training_users = trainable
        else:
            size = min(most, int(np.ceil(len(trainable) * _SHARE_WITHOUT_SPLIT)))
            self.users = np.sort(rng.choice(trainable, size, replace=False))
            self.training_users = np.setdiff1d(trainable, self.users)

    def log_likelihood(self, denoiser: Denoiser, messages: list[Tensor] | None = None) -> float:
        """Return the mean of :meth:`log_likelihoods` over the targets of all processes."""
        values = self.log_likelihoods(denoiser, messages)
        total, count = self.processes.sum(torch.tensor([values.sum(), len(values)], dtype=torch.float64)).tolist()
        return float(total / max(count, 1))

    @torch.no_grad()
    def log_likelihoods(self, denoiser: Denoiser, messages: list[Tensor] | None = None) -> np.ndarray:
        """Return log p(i)/p_t(i) of the targets of this process, in nats; above 0 the model beats popularity.

        ``messages`` of belief propagation, (N, C) for each modality: those of a user's own interactions are left out of
        the items' cluster memberships. Users withheld from training have sent none.
        """
        device = denoiser.popularity_I.device
        views = denoiser.views()
        generator = torch.Generator().manual_seed(self.seed)
        values = [np.zeros(0)]
        for number, users in enumerate(self.train.group_by_length(self.users, _MAX_CELLS, self.longest)):
            items_BT, cavity_messages = self.train.padded(users, self.longest), None
            interactions_BT = self.train.interaction_indices(users, self.longest)
            if self.by_split:
                if messages is not None:
                    with_target_BT = np.pad(interactions_BT, ((0, 0), (0, 1)), constant_values=-1)
                    cavity_messages = gather_messages(messages, with_target_BT, device)
                first = self.valid.indptr[users]
                targets_B = self.valid.items[first]
                times_B = None if self.valid.times is None else self.valid.times[first]
                side_information = self.rivals.side_information_with_next(
                    interactions_BT, users, targets_B, times_B, device
                )
                items_BT, mask_BT = append_targets(items_BT, targets_B)
                observed_BT = torch.as_tensor(mask_BT)
            else:
                side_information = self.rivals.side_information(interactions_BT, device)
                observed_BT = draw_observed(items_BT, self.held_out, generator)
            # Only here: every process draws the same random numbers for all groups.
            if number % self.processes.size != self.processes.rank:
                continue
            batch = denoiser.make_batch(torch.as_tensor(items_BT).to(device), observed_BT.to(device), side_information)
            log_ratios, _ = denoiser.log_likelihood(batch, views, cavity_messages)
            values.append(log_ratios.double().cpu().numpy())
        return np.concatenate(values)
