"""Scores that add up over modalities, so that each modality can count by a weight: verdicts of a run, or attention.

score(u, i) = <user, item> + sum over modalities m of w_m <x_u, y_im>. In training w_m is the weight of the interaction,
for its positive and its negative item alike, so that an interaction that the modality did not cause teaches nothing
about it. For recommending there is no interaction yet: w_m is the user's mean weight. Attention multiplies w_m by M
times a softmax over the modalities that have vectors of the user and the item (as the attention of J. Chen et al.,
SIGIR 2017, "Attentive collaborative filtering", learned with the rest). Without either, all w_m are 1.

Shape suffixes: U users, I items, N training interactions, B triples of a batch, M modalities, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from demure.baselines.content import items_with, required_content
from demure.baselines.pairwise import Pairwise, PairwiseOptions
from demure.baselines.weights import mean_weights

if TYPE_CHECKING:
    from demure.baselines.learned import Task
    from demure.data.histories import Histories
    from demure.evaluation.ranking import Scorer

_CELLS = 50_000_000  # users x items x modalities of a block of attention


@dataclass(frozen=True)
class Parts:
    """Vectors of users (U, D) and items (I, D); of users for content (U, E), of items per modality (M, I, E)."""

    users: Tensor
    items: Tensor
    tastes: Tensor
    content: Tensor


class ByModality(Pairwise):
    """A pairwise model whose subclasses define ``parts``."""

    model = ""
    weights_NM: Tensor | None
    reliance_UM: Tensor | None

    def __init__(self, task: Task, options: PairwiseOptions | None = None) -> None:
        super().__init__(task, options)
        content = required_content(task, self.model)
        self.names = list(content)
        self.register_buffer("weights_NM", None, persistent=False)
        self.register_buffer("reliance_UM", None)
        weights = task.weights_of(self.names)
        if weights is not None:
            has_IM = np.stack([items_with(features) for features in content.values()], axis=1)
            self.weights_NM = torch.as_tensor(weights)
            # In the file of the run, which then recommends without the verdicts.
            self.reliance_UM = torch.as_tensor(mean_weights(task.train, weights, has_IM[task.train.items])[0])

    def add_attention(self, wanted: bool) -> None:
        """Add the parameters of attention if they are ``wanted``; to be called after all others are made."""
        self.attention: nn.ModuleList | None = None
        if wanted:
            dim, M = self.options.dim, len(self.names)
            self.attention = nn.ModuleList(nn.Linear(dim, M, bias=False) for _ in ("users", "items"))
            for part in self.attention:
                nn.init.zeros_(part.get_parameter("weight"))  # all modalities count alike at the start

    @property
    def plain(self) -> bool:
        """Whether all modalities count in full, so that the score is one product."""
        return self.weights_NM is None and self.attention is None

    def parts(self) -> Parts:
        """Return the vectors whose products add up to the score."""
        raise NotImplementedError

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Return vectors (U, D + M x E) and (I, D + M x E) whose products are the scores without attention."""
        parts = self.parts()
        reliance_UM = self.reliance_UM
        if reliance_UM is None:
            reliance_UM = parts.users.new_ones(len(parts.users), len(self.names))
        tastes = [parts.tastes * weight_U[:, None] for weight_U in reliance_UM.T]
        return torch.cat([parts.users, *tastes], 1), torch.cat([parts.items, *parts.content], 1)

    def share(self, users_BD: Tensor, items_BD: Tensor) -> Tensor:
        """Return M times the attention to each modality (B, M), or of broadcast users and items (B, I, M)."""
        assert self.attention is not None
        logits: Tensor = self.attention[0](users_BD) + self.attention[1](items_BD)
        return logits.softmax(-1) * len(self.names)

    def margins(self, parts: Parts, triples: tuple[Tensor, Tensor, Tensor], weights_BM: Tensor | None) -> Tensor:
        """Return the score of the positive less that of the negative item of each triple (B,)."""
        user, *items = triples
        user_BD, taste_BE = parts.users[user], parts.tastes[user]
        scores = []
        for item in items:
            content_BM = torch.einsum("be,mbe->bm", taste_BE, parts.content[:, item])
            if weights_BM is not None:
                content_BM = content_BM * weights_BM
            if self.attention is not None:
                content_BM = content_BM * self.share(self.users(user), self.items(item))
            scores.append((user_BD * parts.items[item]).sum(1) + content_BM.sum(1))
        return scores[0] - scores[1]

    def weighted_loss(self, parts: Parts, triples: tuple[Tensor, Tensor, Tensor], weights_BM: Tensor | None) -> Tensor:
        """Return the mean loss over the triples (B,), whose interactions count by ``weights_BM`` for each modality."""
        return self.mean_loss(-logsigmoid(self.margins(parts, triples, weights_BM)))

    def interactions_loss(self, interaction: Tensor, user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        if self.plain:
            return self.triple_loss(user, positive, negative)
        weights_BM = None if self.weights_NM is None else self.weights_NM[interaction.to(self.weights_NM.device)]
        return self.weighted_loss(self.parts(), (user, positive, negative), weights_BM)

    def scorer(self, histories: Histories) -> Scorer:
        if self.attention is None:
            return super().scorer(histories)
        self.eval()
        with torch.no_grad():
            parts = self.parts()
        block = max(1, _CELLS // (len(self.names) * len(parts.items)))

        @torch.no_grad()
        def score(user_codes: np.ndarray) -> Tensor:
            blocks = [parts.users.new_zeros(0, len(parts.items))]
            for codes in torch.split(torch.as_tensor(user_codes, device=parts.users.device), block):
                share_BIM = self.share(self.users(codes)[:, None], self.items.weight)
                if self.reliance_UM is not None:
                    share_BIM = share_BIM * self.reliance_UM[codes][:, None]
                content_MBI = parts.tastes[codes] @ parts.content.transpose(1, 2)
                blocks.append(parts.users[codes] @ parts.items.T + (share_BIM.permute(2, 0, 1) * content_MBI).sum(0))
            return torch.cat(blocks)

        return score
