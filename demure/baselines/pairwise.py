"""Baselines that learn a vector per user and item from pairs of a chosen and another item. They are blind to order.

Loss of all: -log sigmoid(score of the chosen - score of one drawn at random from those that the user does not have), as
in the Bayesian personalised ranking of S. Rendle et al., UAI 2009, arXiv 1205.2618.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, normalize

from demure.baselines.learned import Learned, LearnedOptions, Own, Task, whole
from demure.errors import DemureError
from demure.evaluation.ranking import Scorer

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from demure.data.histories import Histories

_DRAWS = 20


@dataclass(frozen=True)
class PairwiseOptions(LearnedOptions):
    """``regularisation``: weight of half the squared length of the embeddings in a pair."""

    regularisation: float = 1e-4


@dataclass(frozen=True)
class LightGCNOptions(PairwiseOptions):
    """``layers`` of propagation."""

    layers: int = 2


@dataclass(frozen=True)
class FreedomOptions(LearnedOptions):
    """``neighbours`` of an item in each modality's graph, ``image_weight`` of the image's among them; ``pruned`` share
    of the interactions left out of an epoch's graph; ``modal_weight`` of the losses on features alone."""

    layers: int = 2
    neighbours: int = 10
    image_weight: float = 0.1
    pruned: float = 0.8
    modal_weight: float = 1e-3


class Sparse:
    """A constant sparse matrix to multiply with, and its transpose for the gradient."""

    def __init__(self, matrix: csr_array) -> None:
        self.forward, self.backward = _csr(matrix), _csr(matrix.T.tocsr())

    def to(self, device: torch.device) -> Sparse:
        self.forward, self.backward = self.forward.to(device), self.backward.to(device)
        return self

    def __matmul__(self, dense: Tensor) -> Tensor:
        product: Tensor = _Product.apply(dense, self)
        return product


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, dense: Tensor, matrix: Sparse) -> Tensor:
        context.matrix = matrix
        return matrix.forward @ dense

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return context.matrix.backward @ gradient.contiguous(), None


def _csr(matrix: csr_array) -> Tensor:
    rows, columns = (torch.as_tensor(part, dtype=torch.int64) for part in (matrix.indptr, matrix.indices))
    values = torch.as_tensor(matrix.data, dtype=torch.float32)
    with warnings.catch_warnings():  # torch calls the whole layout beta, once a process
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse_csr_tensor(rows, columns, values, size=matrix.shape)


class Pairwise(Learned):
    """Matrix factorisation: score = <user, item>. The others change what the vectors are."""

    options: PairwiseOptions
    pairs_2N: Tensor
    known_N: Tensor

    def __init__(self, task: Task, options: Any = None) -> None:
        super().__init__()
        self.options = options or PairwiseOptions()
        self.users = nn.Embedding(task.n_users, self.options.dim)
        self.items = nn.Embedding(task.n_items, self.options.dim)
        nn.init.xavier_uniform_(self.users.weight)
        nn.init.xavier_uniform_(self.items.weight)
        chosen = torch.as_tensor(task.train.items)
        chosen_by = torch.as_tensor(task.train.owners)
        self.register_buffer("pairs_2N", torch.stack([chosen_by, chosen]), persistent=False)
        self.register_buffer("known_N", torch.unique(chosen_by * task.n_items + chosen), persistent=False)

    def vectors(self) -> tuple[Tensor, Tensor]:
        """Vectors of all users (U, D) and items (I, D), as they are scored with."""
        return self.users.weight, self.items.weight

    def batches(self, generator: torch.Generator) -> Sequence[Tensor]:
        return torch.randperm(self.pairs_2N.shape[1], generator=generator).split(self.options.batch)

    def loss_of(self, batch: Tensor, generator: torch.Generator, own: Own = whole) -> Tensor | None:
        user, chosen = self.pairs_2N[:, batch.to(self.pairs_2N.device)]
        other = self.others(user, generator)
        mine = own(user)
        if not len(mine):
            return None
        return self.loss(mine, own(chosen), own(other)) * (len(mine) / len(user))

    def loss(self, user: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
        """Mean over pairs (B,) of a chosen and another item of a user."""
        users, items = self.vectors()
        return bpr(users[user], items[chosen], items[other]) + self.penalty(user, chosen, other)

    def penalty(self, user: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
        """Of the embeddings themselves, before any propagation."""
        parts = (self.users(user), self.items(chosen), self.items(other))
        return self.options.regularisation * sum((part.square().sum(1).mean() / 2 for part in parts), torch.zeros(()))

    def others(self, user: Tensor, generator: torch.Generator) -> Tensor:
        """For each user (B,) an item drawn evenly from those not in the training history."""
        n_items = self.items.num_embeddings
        drawn = torch.randint(n_items, user.shape, generator=generator).to(user.device)
        for _ in range(_DRAWS):
            key = user * n_items + drawn
            at = torch.searchsorted(self.known_N, key).clamp(max=len(self.known_N) - 1)
            had = self.known_N[at] == key
            if not bool(had.any()):
                break
            again = torch.randint(n_items, user.shape, generator=generator).to(user.device)
            drawn = torch.where(had, again, drawn)
        return drawn

    def scorer(self, histories: Histories) -> Scorer:
        self.eval()
        with torch.no_grad():
            users, items = (part.detach().cpu().numpy() for part in self.vectors())

        def score(which: np.ndarray) -> np.ndarray:
            scores: np.ndarray = users[which] @ items.T
            return scores

        return score


class VBPR(Pairwise):
    """Visual BPR: half of each vector is learned freely, half of the item's is a linear map of its features.

    R. He and J. McAuley, AAAI 2016, arXiv 1510.01784, equation 4 with the items' biases, all modalities' features side
    by side, and without the features' own bias.
    """

    content_IF: Tensor

    def __init__(self, task: Task, options: Any = None) -> None:
        super().__init__(task, options)
        content = np.concatenate(list(_needed(task, "vbpr").values()), axis=1)
        self.register_buffer("content_IF", torch.as_tensor(content), persistent=False)
        self.tastes = nn.Embedding(task.n_users, self.options.dim)
        self.project = nn.Linear(content.shape[1], self.options.dim, bias=False)
        self.bias = nn.Embedding(task.n_items, 1)
        nn.init.xavier_uniform_(self.tastes.weight)
        nn.init.xavier_uniform_(self.project.weight)
        nn.init.zeros_(self.bias.weight)

    def vectors(self) -> tuple[Tensor, Tensor]:
        users = torch.cat([self.users.weight, self.tastes.weight, torch.ones_like(self.users.weight[:, :1])], dim=1)
        return users, torch.cat([self.items.weight, self.project(self.content_IF), self.bias.weight], dim=1)

    def penalty(self, user: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
        parts = (self.tastes(user), self.project(self.content_IF[chosen]), self.project(self.content_IF[other]))
        own = sum((part.square().sum(1).mean() / 2 for part in parts), torch.zeros(()))
        return super().penalty(user, chosen, other) + self.options.regularisation * own


class LightGCN(Pairwise):
    """Embeddings propagated over the graph of interactions, the mean of all layers.

    X. He et al., SIGIR 2020, arXiv 2002.02126, equations 7 and 8: each layer is D^-1/2 A D^-1/2 times the last.
    """

    options: LightGCNOptions

    def __init__(self, task: Task, options: Any = None) -> None:
        super().__init__(task, options or LightGCNOptions())
        self.graph = self.graph_of(self.pairs_2N.numpy())

    def graph_of(self, pairs_2N: np.ndarray) -> Sparse:
        """Normalised adjacency (U + I, U + I) of users and items."""
        from scipy.sparse import csr_array, diags_array

        size = self.users.num_embeddings + self.items.num_embeddings
        user, item = pairs_2N[0], pairs_2N[1] + self.users.num_embeddings
        ends = (np.concatenate([user, item]), np.concatenate([item, user]))
        adjacency = csr_array((np.ones(len(ends[0]), np.float32), ends), shape=(size, size))
        adjacency.data[:] = 1.0  # an item taken twice is one edge
        scale = diags_array(np.maximum(adjacency.sum(axis=0), 1e-12) ** -0.5 * (adjacency.sum(axis=0) > 0))
        return Sparse((scale @ adjacency @ scale).tocsr())

    def propagated(self, graph: Sparse) -> tuple[Tensor, Tensor]:
        layer = torch.cat([self.users.weight, self.items.weight])
        graph = graph.to(layer.device)
        total = layer
        for _ in range(int(self.options.layers)):
            layer = graph @ layer
            total = total + layer
        mean = total / (int(self.options.layers) + 1)
        return mean[: self.users.num_embeddings], mean[self.users.num_embeddings :]

    def vectors(self) -> tuple[Tensor, Tensor]:
        return self.propagated(self.graph)


class Freedom(LightGCN):
    """LightGCN on a graph whose edges are pruned anew each epoch, plus one step over a frozen graph of similar items.

    X. Zhou and Z. Shen, ACM MM 2023, arXiv 2211.06924: the item graph joins nearest neighbours in each modality; edges
    are kept by 1 / sqrt(degree of user x degree of item); to the loss come those of the features alone.
    """

    options: FreedomOptions  # type: ignore[assignment]

    def __init__(self, task: Task, options: Any = None) -> None:
        super().__init__(task, options or FreedomOptions())
        content = _needed(task, "freedom")
        self.alike = Sparse(similar_items(content, int(self.options.neighbours), self.options.image_weight))
        self.names = list(content)
        for name, features in content.items():
            self.register_buffer(f"content_{name}", torch.as_tensor(features), persistent=False)
        self.project = nn.ModuleDict({name: nn.Linear(f.shape[1], self.options.dim) for name, f in content.items()})
        for name in content:
            nn.init.xavier_normal_(self.project[name].get_parameter("weight"))
        degree = np.unique(self.pairs_2N.numpy(), axis=1)
        at_user, at_item = (np.bincount(ends, minlength=int(ends.max(initial=0)) + 1) for ends in degree)
        self.edges_2E = degree
        self.keep_E = torch.as_tensor((at_user[degree[0]] * at_item[degree[1]]).astype(np.float64) ** -0.5)
        self.pruned: Sparse | None = None

    def batches(self, generator: torch.Generator) -> Sequence[Tensor]:
        kept = max(1, int(len(self.keep_E) * (1 - self.options.pruned)))
        # Weighted draws without replacement, by the largest of log weight plus Gumbel noise.
        noise = -torch.log(-torch.log(torch.rand(len(self.keep_E), generator=generator, dtype=torch.float64)))
        chosen = (self.keep_E.log() + noise).topk(kept).indices.numpy()
        self.pruned = self.graph_of(self.edges_2E[:, np.sort(chosen)])
        return super().batches(generator)

    def vectors(self) -> tuple[Tensor, Tensor]:
        users, items = self.propagated(self.pruned if self.training and self.pruned else self.graph)
        return users, items + self.alike.to(items.device) @ self.items.weight

    def loss(self, user: Tensor, chosen: Tensor, other: Tensor) -> Tensor:
        users, items = self.vectors()
        total = bpr(users[user], items[chosen], items[other])
        for name in self.names:
            seen = self.project[name](getattr(self, f"content_{name}"))
            total = total + self.options.modal_weight * bpr(users[user], seen[chosen], seen[other])
        return total


def bpr(users_BD: Tensor, chosen_BD: Tensor, other_BD: Tensor) -> Tensor:
    """-log sigmoid(<user, chosen> - <user, other>), the mean over the batch."""
    return -logsigmoid((users_BD * (chosen_BD - other_BD)).sum(1)).mean()


def similar_items(content: dict[str, np.ndarray], neighbours: int, image_weight: float) -> csr_array:
    """(I, I): each modality's graph of nearest neighbours by cosine, normalised by degrees, averaged.

    ``image`` weighs ``image_weight`` and the others share the rest; without it, or alone, all weigh the same.
    """
    from scipy.sparse import csr_array, diags_array

    n_items = len(next(iter(content.values())))
    total = csr_array((n_items, n_items), dtype=np.float32)
    for name, features in content.items():
        weight = 1 / len(content)
        if "image" in content and len(content) > 1:
            weight = image_weight if name == "image" else (1 - image_weight) / (len(content) - 1)
        present = np.flatnonzero(np.abs(features).sum(1) > 0)
        unit = normalize(torch.as_tensor(features[present]), dim=1)
        k = min(neighbours, len(present))
        nearest = torch.cat([(block @ unit.T).topk(k, dim=1).indices for block in unit.split(2048)]).numpy()
        ends = (np.repeat(present, k), present[nearest].ravel())
        graph = csr_array((np.ones(len(ends[0]), np.float32), ends), shape=(n_items, n_items))
        scale = diags_array(np.maximum(graph.sum(axis=1), 1e-7) ** -0.5)
        total = total + weight * (scale @ graph @ scale)
    return total.tocsr()


def _needed(task: Task, model: str) -> dict[str, np.ndarray]:
    if not task.content:
        raise DemureError("needs features of the items", where=model, remedy="run `demure extract` on the dataset")
    return dict(task.content)
