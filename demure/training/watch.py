"""What is watched while training: the likelihood of interactions that training never sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from demure.model.denoiser import Denoiser
from demure.training.batches import append, by_length, hide, said_at
from demure.training.team import Team

if TYPE_CHECKING:
    from demure.data.dataset import Histories

_CELLS = 2_000_000
_SHARE_WITHOUT_SPLIT = 0.1


class Watch:
    """Held-out targets of at most ``most`` users. ``kept`` users may be trained on.

    With a validation split, each watched user's first validation interaction is told from the training history.
    Without one, a tenth of the users is kept from training and a part of their history is told from the rest. Each
    process of the ``team`` does its part.
    """

    def __init__(
        self,
        train: Histories,
        valid: Histories,
        *,
        most: int,
        longest: int,
        held_out: float,
        seed: int,
        team: Team | None = None,
    ) -> None:
        rng = np.random.default_rng(seed)
        lengths, valid_lengths = np.diff(train.indptr), np.diff(valid.indptr)
        self.train, self.valid, self.longest = train, valid, longest
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

    @torch.no_grad()
    def log_likelihood(self, denoiser: Denoiser, told: list[Tensor] | None = None) -> float:
        """Mean log p(i)/p_0(i) of the watched targets, nats; above 0 means that content tells more than popularity.
        ``told`` (N, C) for each modality: what the training interactions told of their items' themes, left out of what
        their users hear; users that are kept from training are thought to have told nothing."""
        device = denoiser.popularity_I.device
        views = denoiser.views()
        generator = torch.Generator().manual_seed(self.seed)
        total, count = 0.0, 0
        for at, users in enumerate(by_length(self.train, self.users, _CELLS, self.longest)):
            items, own = self.train.padded(users, self.longest), None
            if self.by_split:
                if told is not None:
                    places = self.train.places(users, self.longest)
                    own = said_at(told, np.pad(places, ((0, 0), (0, 1)), constant_values=-1), device)
                items, mask = append(items, self.valid.items[self.valid.indptr[users]])
                known = torch.as_tensor(mask)
            else:
                known = hide(items, self.held_out, generator)
            if at % self.team.size != self.team.rank:
                continue
            context = denoiser.context(torch.as_tensor(items).to(device), known.to(device))
            found, _ = denoiser.log_likelihood(context, views, own)
            total, count = total + float(found.double().sum()), count + len(found)
        total, count = self.team.sum_of(torch.tensor([total, count], dtype=torch.float64)).tolist()
        return total / max(count, 1)
