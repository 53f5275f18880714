"""Matrix factorisation baselines trained with the BPR loss on a positive and a sampled negative item.

The loss is -log sigmoid(score of the positive item - score of the negative item), as in the Bayesian personalised
ranking of S. Rendle et al., UAI 2009, arXiv 1205.2618. A positive item is one of the user's training history, a
negative one is not. The order of the interactions is not used.

Shape suffixes: B interactions of a batch, N training interactions, P distinct pairs of user and item among them, D
dimensions, U users, I items, F feature dimensions of all modalities, concatenated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from demure.baselines.learned import Learned, LearnedOptions, LocalRows, Task, whole_batch
from demure.evaluation.ranking import Scorer

if TYPE_CHECKING:
    from demure.data.histories import Histories

_MAX_DRAWS = 20


@dataclass(frozen=True)
class PairwiseOptions(LearnedOptions):
    """``regularisation``: weight of half the squared length of the embeddings of a triple."""

    regularisation: float = 1e-4


class Pairwise(Learned):
    """Matrix factorisation: score = <user, item>. The subclasses compute other vectors.

    ``compares_rows``: whether the loss of a row depends on the other rows of its batch; then every process computes the
    loss of the whole batch, and weighs it by its part of the rows.
    """

    compares_rows = False
    options: PairwiseOptions
    interactions_2N: Tensor
    observed_keys_P: Tensor

    def __init__(self, task: Task, options: PairwiseOptions | None = None) -> None:
        super().__init__()
        self.options = options or PairwiseOptions()
        self.users = nn.Embedding(task.n_users, self.options.dim)
        self.items = nn.Embedding(task.n_items, self.options.dim)
        nn.init.xavier_uniform_(self.users.weight)
        nn.init.xavier_uniform_(self.items.weight)
        items_N = torch.as_tensor(task.train.items)
        users_N = torch.as_tensor(task.train.owners)
        self.register_buffer("interactions_2N", torch.stack([users_N, items_N]), persistent=False)
        self.register_buffer("observed_keys_P", torch.unique(users_N * task.n_items + items_N), persistent=False)

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Return the vectors of all users (U, D) and items (I, D) whose products are the scores."""
        return self.users.weight, self.items.weight

    def batches(self, generator: torch.Generator) -> Sequence[Tensor]:
        return torch.split(torch.randperm(self.interactions_2N.shape[1], generator=generator), self.options.batch)

    def step_loss(
        self, batch: Tensor, generator: torch.Generator, local_rows_of: LocalRows = whole_batch
    ) -> Tensor | None:
        user, positive = self.interactions_2N[:, batch.to(self.interactions_2N.device)]
        negative = self.sample_negatives(user, generator)
        local_users = local_rows_of(user)
        if not len(local_users):
            return None
        rows_of = whole_batch if self.compares_rows else local_rows_of
        rows = rows_of(user), rows_of(positive), rows_of(negative)
        return self.interactions_loss(rows_of(batch), *rows) * (len(local_users) / len(user))

    def interactions_loss(self, interaction: Tensor, user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the mean loss over the triples (B,) of training interactions, numbered ``interaction`` (B,)."""
        return self.triple_loss(user, positive, negative)

    def triple_loss(self, user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the mean loss over the triples (B,) of a user, a positive and a negative item."""
        users, items = self.vectors()
        losses = pair_losses(users[user], items[positive], items[negative])
        return self.mean_loss(losses) + self.penalty(user, positive, negative)

    def penalty(self, user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        """Return the regularisation of the embeddings themselves, before any propagation."""
        parts = (self.users(user), self.items(positive), self.items(negative))
        return self.options.regularisation * sum((part.square().sum(1).mean() / 2 for part in parts), torch.zeros(()))

    def sample_negatives(self, user: Tensor, generator: torch.Generator) -> Tensor:
        """Draw for each user (B,) an item, evenly from the items that are not in the training history.

        An item of the history is drawn again, at most ``_MAX_DRAWS`` times; for a user who had nearly all items, one
        may remain.
        """
        n_items = self.items.num_embeddings
        drawn = torch.randint(n_items, user.shape, generator=generator).to(user.device)
        for _ in range(_MAX_DRAWS):
            key = user * n_items + drawn
            position = torch.searchsorted(self.observed_keys_P, key).clamp(max=len(self.observed_keys_P) - 1)
            observed = self.observed_keys_P[position] == key
            if not bool(observed.any()):
                break
            again = torch.randint(n_items, user.shape, generator=generator).to(user.device)
            drawn = torch.where(observed, again, drawn)
        return drawn

    def scorer(self, histories: Histories) -> Scorer:
        self.eval()
        with torch.no_grad():
            users, items = (part.detach() for part in self.vectors())

        def score(user_codes: np.ndarray) -> Tensor:
            return users[torch.as_tensor(user_codes, device=users.device)] @ items.T

        return score


def pair_losses(users_BD: Tensor, positive_BD: Tensor, negative_BD: Tensor) -> Tensor:
    """Return -log sigmoid(<user, positive> - <user, negative>) of each row (B,)."""
    return -logsigmoid((users_BD * (positive_BD - negative_BD)).sum(1))


def bpr(users_BD: Tensor, positive_BD: Tensor, negative_BD: Tensor) -> Tensor:
    """Return the mean of :func:`pair_losses` over the batch."""
    return pair_losses(users_BD, positive_BD, negative_BD).mean()
