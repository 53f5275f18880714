"""BM3: no negative items; two noisy views of a user, an item and its features predict each other.

X. Zhou et al., WWW 2023, arXiv 2207.05969, equations 3 to 11. Departures: the features are fixed inputs of a linear map
(as in the paper; the authors' code trains them); the regularisation is that of :class:`Pairwise` for the pair; an
item that lacks a modality has no loss of it.

Shape suffixes: B pairs of a batch, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, dropout

from demure.baselines.content import ItemContent, required_content
from demure.baselines.graph import LightGCN, LightGCNOptions
from demure.baselines.learned import LocalRows, Task, whole_batch


@dataclass(frozen=True)
class BM3Options(LightGCNOptions):
    """``dropout`` of the target's view; ``modal_weight`` of the losses on features."""

    layers: int = 1
    patience: int = 15
    dropout: float = 0.3
    modal_weight: float = 0.2


class BM3(ItemContent, LightGCN):
    """LightGCN whose predictor maps one view to another; score = <predicted user, predicted item>."""

    options: BM3Options

    def __init__(self, task: Task, options: BM3Options | None = None) -> None:
        super().__init__(task, options or BM3Options())
        self.predict = nn.Linear(self.options.dim, self.options.dim)
        nn.init.xavier_normal_(self.predict.weight)
        content = required_content(task, "bm3")
        self.add_content(content, self.options.dim, initialise=nn.init.xavier_normal_)

    def online(self) -> tuple[Tensor, Tensor]:
        """Return the vectors of users (U, D) and items (I, D) before the predictor; items with their own once more."""
        users, items = self.propagate(self.graph)
        return users, items + self.items.weight

    def vectors(self) -> tuple[Tensor, Tensor]:
        users, items = self.online()
        return self.predict(users), self.predict(items)

    def step_loss(
        self, batch: Tensor, generator: torch.Generator, local_rows_of: LocalRows = whole_batch
    ) -> Tensor | None:
        user, item = self.interactions_2N[:, batch.to(self.interactions_2N.device)]
        share = len(local_rows_of(user)) / len(user)
        # On the whole batch in every process: dropout then draws the same in all.
        return self.pair_loss(user, item) * share if share else None

    def pair_loss(self, user: Tensor, item: Tensor) -> Tensor:
        """Return the mean loss over pairs (B,) of a user and an item of the user's history."""
        users, items = self.online()
        user_BD, item_BD = users[user], items[item]
        item_target_BD = self.target(item_BD)
        losses_B = distance(self.predict(user_BD), item_target_BD)
        losses_B = losses_B + distance(self.predict(item_BD), self.target(user_BD))
        for name in self.names:
            modal_BD = self.projected(name, item)
            predicted_BD = self.predict(modal_BD)
            # The features predict the item (between modalities) and their own noisy view (within).
            apart_B = distance(predicted_BD, item_target_BD) + distance(predicted_BD, self.target(modal_BD))
            losses_B = losses_B + self.options.modal_weight * apart_B * self.has(name)[item]
        return self.mean_loss(losses_B) + self.penalty(user, item, item[:0])

    def target(self, online_BD: Tensor) -> Tensor:
        """Return the other view: without gradient, and with dropout while learning."""
        return dropout(online_BD.detach(), self.options.dropout, self.training)

    def penalty(self, user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        squares: Tensor = self.users(user).square().sum(1).mean() + self.items(positive).square().sum(1).mean()
        return self.options.regularisation * squares / 2


def distance(first_BD: Tensor, second_BD: Tensor) -> Tensor:
    """Return 1 - cosine of each row, (B,)."""
    return 1 - cosine_similarity(first_BD, second_BD, dim=1)
