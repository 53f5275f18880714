"""What is watched while training: the likelihood of interactions that training never sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from demure.compute.process_group import Team
from demure.model.denoiser import Denoiser
from demure.training.batches import append, hide, gather_messages

if TYPE_CHECKING:
    from demure.data.histories import Histories
    from demure.training.rivals import Rivals

_CELLS = 2_000_000
_SHARE_WITHOUT_SPLIT = 0.1


class Validation:
    """Held-out targets of at most ``most`` users. ``kept`` users may be trained on.

    With a validation split, each watched user's first validation interaction is told from the training history.
    Without one, a tenth of the users is kept from training and a part of their history is told from the rest. Each
    process of the ``team`` does its part.
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
        team: Team | None = None,
    ) -> None:
        train = rivals.train
        rng = np.random.default_rng(seed)
        lengths, valid_lengths = train.lengths, valid.lengths
        self.rivals, self.train, self.valid, self.longest = rivals, train, valid, longest
        trainable = np.flatnonzero(lengths >= 2)
        users = np.flatnonzero((valid_lengths > 0) & (lengths > 0))
        self.by_split = len(users) > 0
        self.held_out, self.seed, self.team = held_out, seed, team or Team()
        if self.by_split:
            self.users = np.sort(rng.choice(users, min(most, len(users)), replace=False))
            self.kept = trainable
        else:
            size = min(most, int(np.ceil(len(trainable) * _SHARE_WITHOUT_SPLIT)))
            self.users = np.sort(rng.choice(trainable, size, replace=False))
            self.kept = np.setdiff1d(trainable, self.users)

    def log_likelihood(self, denoiser: Denoiser, told: list[Tensor] | None = None) -> float:
        """Mean of :meth:`log_likelihoods` over the targets of all processes."""
        found = self.log_likelihoods(denoiser, told)
        total, count = self.team.sum_of(torch.tensor([found.sum(), len(found)], dtype=torch.float64)).tolist()
        return total / max(count, 1)

    @torch.no_grad()
    def log_likelihoods(self, denoiser: Denoiser, told: list[Tensor] | None = None) -> np.ndarray:
        """log p(i)/p_t(i) of this process' watched targets, nats; above 0: the model tells more than popularity.
        ``told`` (N, C) for each modality: what the training interactions told of their items' themes, left out of what
        their users hear; users that are kept from training are thought to have told nothing."""
        device = denoiser.popularity_I.device
        views = denoiser.views()
        generator = torch.Generator().manual_seed(self.seed)
        parts = [np.zeros(0)]
        for at, users in enumerate(self.train.group_by_length(self.users, _CELLS, self.longest)):
            items, own = self.train.padded(users, self.longest), None
            places = self.train.positions(users, self.longest)
            if self.by_split:
                if told is not None:
                    own = gather_messages(told, np.pad(places, ((0, 0), (0, 1)), constant_values=-1), device)
                first = self.valid.indptr[users]
                times = None if self.valid.times is None else self.valid.times[first]
                beside = self.rivals.beside_next(places, users, self.valid.items[first], times, device)
                items, mask = append(items, self.valid.items[first])
                known = torch.as_tensor(mask)
            else:
                beside = self.rivals.beside(places, device)
                known = hide(items, self.held_out, generator)
            if at % self.team.size != self.team.rank:
                continue
            context = denoiser.context(torch.as_tensor(items).to(device), known.to(device), beside)
            found, _ = denoiser.log_likelihood(context, views, own)
            parts.append(found.double().cpu().numpy())
        return np.concatenate(parts)
