"""MGCN: features cleaned by behaviour, one view per modality, fused by what the user's behaviour prefers.

P. Yu et al., ACM MM 2023, arXiv 2308.03588. Departures: the transformed features are fixed inputs, as in the paper and
unlike the authors' code, which trains them; any number of modalities; an item that lacks a modality has no view of it,
and the attention of such items, and of users of such items alone, leaves the modality out; the regularisation is that
of :class:`Pairwise`, and the learning rate does not decay.

Shape suffixes: U users, I items, A = U + I both, D dimensions, F columns of a modality's features, M modalities, B
rows of a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from demure.baselines.content import ItemContent, required_content
from demure.baselines.graph import LightGCN, LightGCNOptions, SparseMatrix, nearest_items
from demure.baselines.learned import DENOISING, Task
from demure.baselines.pairwise import pair_losses

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True)
class MGCNOptions(LightGCNOptions):
    """``neighbours`` of an item in each modality's graph, ``item_layers`` of propagation over it; ``contrast_weight``
    and ``temperature`` of the loss that aligns behaviour and content; ``denoising``: how far the weights of verdicts
    lie from 1."""

    neighbours: int = 10
    item_layers: int = 1
    contrast_weight: float = 0.01
    temperature: float = 0.2
    denoising: float = DENOISING


class MGCN(ItemContent, LightGCN):
    """LightGCN plus content: score = <user, item>, each the sum of a behaviour and a content vector.

    With weights of the interactions, a user's view of a modality is the sum over their items times these weights.
    """

    compares_rows = True
    options: MGCNOptions
    model = "mgcn"

    def __init__(self, task: Task, options: MGCNOptions | None = None) -> None:
        super().__init__(task, options or MGCNOptions())
        content = required_content(task, self.model)
        dim, k = self.options.dim, int(self.options.neighbours)
        self.add_item_graphs({name: nearest_items(f, k, by_cosine=True) for name, f in content.items()})
        self.of_users = self.user_items(self.interactions_2N.numpy())
        weights = task.weights_of(list(content))
        self.weights_NM: Tensor | None
        self.register_buffer("weights_NM", None if weights is None else torch.as_tensor(weights))
        self.weighted: dict[str, SparseMatrix] = {}  # made when it is used: the weights may be loaded later
        self.add_content(content, dim)
        for name in self.names:
            self.register_buffer(f"view_{name}", self.with_view(self.has(name).numpy()), persistent=False)
        self.purify = nn.ModuleDict({name: gate(dim) for name in self.names})
        self.prefer = nn.ModuleDict({name: gate(dim) for name in self.names})
        self.query = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1, bias=False))

    def add_item_graphs(self, graphs: dict[str, csr_array]) -> None:
        """Add the graph of nearest items (I, I) of each modality."""
        self.item_graphs = {name: SparseMatrix(graph) for name, graph in graphs.items()}

    def with_view(self, has_I: np.ndarray) -> Tensor:
        """Return which users and items have a view of the modality, (A,) bool: users by their items."""
        user = np.zeros(self.users.num_embeddings, bool)
        user_N, item_N = self.interactions_2N.numpy()
        user[user_N[has_I[item_N]]] = True
        return torch.as_tensor(np.concatenate([user, has_I]))

    def users_by_items(self, name: str | None) -> SparseMatrix:
        """Return the graph (U, I) that gives users the sum over their items, times the weights of modality ``name``."""
        if self.weights_NM is None or name is None:
            return self.of_users
        if name not in self.weighted:
            weights_N = self.weights_NM[:, self.names.index(name)].cpu().numpy()
            self.weighted[name] = self.user_items(self.interactions_2N.cpu().numpy(), weights_N)
        return self.weighted[name]

    def view(self, items_ID: Tensor, graph: SparseMatrix, name: str | None = None) -> Tensor:
        """Propagate over ``graph``, and from the items to their users: (A, D), equations 5 and 6.

        ``name``: the modality, whose weights count, or None.
        """
        graph = graph.to(items_ID.device)
        for _ in range(int(self.options.item_layers)):
            items_ID = graph @ items_ID
        return torch.cat([self.users_by_items(name).to(items_ID.device) @ items_ID, items_ID])

    def content_side(self, behaviour_AD: Tensor) -> Tensor:
        """Return the content vectors (A, D): what the views share, and of each what behaviour prefers.

        A view propagates the items' embeddings, gated by their features. Equations 7 to 12: attention over the
        modalities gives the shared part; the rest of each view passes a gate.
        """
        views = {
            name: self.view(self.items.weight * self.purify[name](self.projected(name)), self.item_graphs[name], name)
            for name in self.names
        }
        view_AM = torch.stack([self.get_buffer(f"view_{name}") for name in self.names], dim=1)
        query_AM = torch.cat([self.query(view) for view in views.values()], dim=1)
        # A large negative number: the softmax of rows without any modality stays finite, and their views are zero.
        share_AM = query_AM.masked_fill(~view_AM, -1e9).softmax(dim=1)
        shared_AD = torch.stack([share_AM[:, k, None] * view for k, view in enumerate(views.values())]).sum(0)
        total_AD = shared_AD
        for k, (name, view_AD) in enumerate(views.items()):
            own_AD = (view_AD - shared_AD) * view_AM[:, k, None]
            total_AD = total_AD + self.prefer[name](behaviour_AD) * own_AD
        return total_AD / (len(views) + 1)

    def sides(self) -> tuple[Tensor, Tensor]:
        """Return the behaviour and the content vectors of users and items, (A, D) each."""
        behaviour_AD = torch.cat(self.propagate(self.graph))
        return behaviour_AD, self.content_side(behaviour_AD)

    def vectors(self) -> tuple[Tensor, Tensor]:
        behaviour_AD, content_AD = self.sides()
        both_AD, n_users = behaviour_AD + content_AD, self.users.num_embeddings
        return both_AD[:n_users], both_AD[n_users:]

    def triple_loss(self, user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        behaviour_AD, content_AD = self.sides()
        both_AD, n_users = behaviour_AD + content_AD, self.users.num_embeddings
        losses_B = pair_losses(both_AD[user], both_AD[n_users + positive], both_AD[n_users + negative])
        loss = self.mean_loss(losses_B) + self.penalty(user, positive, negative)
        for rows in (n_users + positive, user):
            contrast = info_nce(content_AD[rows], behaviour_AD[rows], self.options.temperature)
            loss = loss + self.options.contrast_weight * contrast
        return loss


def gate(dim: int) -> nn.Sequential:
    """Return a layer that maps vectors (..., ``dim``) to weights between 0 and 1."""
    return nn.Sequential(nn.Linear(dim, dim), nn.Sigmoid())


def info_nce(first_BD: Tensor, second_BD: Tensor, temperature: float) -> Tensor:
    """Return the mean of -log softmax over the batch of the cosine of a row with its own row of ``second_BD``.

    A. van den Oord et al., 2018, arXiv 1807.03748.
    """
    similarity_BB = normalize(first_BD, dim=1) @ normalize(second_BD, dim=1).T / temperature
    return cross_entropy(similarity_BB, torch.arange(len(first_BD), device=first_BD.device))
