"""Baselines that propagate embeddings over graphs: LightGCN over users and items, FREEDOM over similar items as well.

Shape suffixes: U users, I items, N training interactions, E edges, D dimensions.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from demure.baselines.content import ItemContent, items_with, required_content
from demure.baselines.learned import DENOISING, LearnedOptions, Task
from demure.baselines.modal import ByModality, Parts
from demure.baselines.pairwise import Pairwise, PairwiseOptions, pair_losses

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True)
class LightGCNOptions(PairwiseOptions):
    """``layers`` of propagation."""

    layers: int = 2


@dataclass(frozen=True)
class FreedomOptions(LearnedOptions):
    """``neighbours`` of an item in the graph of each modality, ``image_weight`` of the image's graph among them.

    ``layers`` of propagation; ``pruned``: share of the interactions left out of an epoch's graph; ``modal_weight`` of
    the losses on features alone; ``attention`` above 0: each modality counts by a softmax over vectors of user and
    item; ``denoising``: how far the weights of verdicts lie from 1.
    """

    layers: int = 2
    neighbours: int = 10
    image_weight: float = 0.1
    pruned: float = 0.8
    modal_weight: float = 1e-3
    attention: float = 0.0
    denoising: float = DENOISING


class SparseMatrix:
    """A constant sparse matrix for products, with its transpose for the gradient."""

    def __init__(self, matrix: csr_array) -> None:
        self.forward, self.backward = _csr(matrix), _csr(matrix.T.tocsr())

    def to(self, device: torch.device) -> SparseMatrix:
        """Move both matrices to ``device``."""
        self.forward, self.backward = self.forward.to(device), self.backward.to(device)
        return self

    def __matmul__(self, dense: Tensor) -> Tensor:
        product: Tensor = _Product.apply(dense, self)
        return product


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, dense: Tensor, matrix: SparseMatrix) -> Tensor:
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


class LightGCN(Pairwise):
    """Embeddings propagated over the graph of interactions, the mean of all layers.

    X. He et al., SIGIR 2020, arXiv 2002.02126, equations 7 and 8: each layer is D^-1/2 A D^-1/2 times the last.
    """

    options: LightGCNOptions

    def __init__(self, task: Task, options: LightGCNOptions | None = None) -> None:
        super().__init__(task, options or LightGCNOptions())
        self.graph = self.build_graph(self.interactions_2N.numpy())

    def build_graph(self, interactions_2N: np.ndarray) -> SparseMatrix:
        """Return the normalised adjacency (U + I, U + I) of users and items, for products."""
        return SparseMatrix(self.adjacency(interactions_2N))

    def adjacency(self, interactions_2N: np.ndarray) -> csr_array:
        """Return the normalised adjacency (U + I, U + I) of users and items."""
        from scipy.sparse import csr_array, diags_array

        size = self.users.num_embeddings + self.items.num_embeddings
        user, item = interactions_2N[0], interactions_2N[1] + self.users.num_embeddings
        ends = (np.concatenate([user, item]), np.concatenate([item, user]))
        adjacency = csr_array((np.ones(len(ends[0]), np.float32), ends), shape=(size, size))
        adjacency.data[:] = 1.0  # an item taken twice is one edge
        scale = diags_array(np.maximum(adjacency.sum(axis=0), 1e-12) ** -0.5 * (adjacency.sum(axis=0) > 0))
        return (scale @ adjacency @ scale).tocsr()

    def user_items(self, interactions_2N: np.ndarray, weights_N: np.ndarray | None = None) -> SparseMatrix:
        """Return the part (U, I) of the normalised adjacency that gives users the sum over their items.

        With ``weights_N``, each edge is multiplied by the mean weight of its interactions.
        """
        from scipy.sparse import csr_array

        n_users = self.users.num_embeddings
        edges = self.adjacency(interactions_2N)[:n_users, n_users:]
        if weights_N is not None:
            ends = (interactions_2N[0], interactions_2N[1])
            total = csr_array((weights_N, ends), shape=edges.shape)
            count = csr_array((np.ones_like(weights_N), ends), shape=edges.shape)
            count.data = 1 / count.data
            edges = (edges * total * count).tocsr()
        return SparseMatrix(edges)

    def propagate(self, graph: SparseMatrix) -> tuple[Tensor, Tensor]:
        """Return the mean over all layers of the vectors of users (U, D) and items (I, D)."""
        layer = torch.cat([self.users.weight, self.items.weight])
        graph = graph.to(layer.device)
        total = layer
        for _ in range(int(self.options.layers)):
            layer = graph @ layer
            total = total + layer
        mean = total / (int(self.options.layers) + 1)
        return mean[: self.users.num_embeddings], mean[self.users.num_embeddings :]

    def vectors(self) -> tuple[Tensor, Tensor]:
        return self.propagate(self.graph)


class Freedom(ItemContent, ByModality, LightGCN):
    """LightGCN on a graph whose edges are pruned anew each epoch, plus one step over a frozen graph of similar items.

    X. Zhou and Z. Shen, ACM MM 2023, arXiv 2211.06924: the item graph joins nearest neighbours in each modality; edges
    are kept by 1 / sqrt(degree of user x degree of item); to the loss come those of the features alone.
    """

    options: FreedomOptions  # type: ignore[assignment]
    model = "freedom"

    def __init__(self, task: Task, options: FreedomOptions | None = None) -> None:
        super().__init__(task, options or FreedomOptions())  # type: ignore[arg-type]  # no regularisation
        content = required_content(task, self.model)
        graphs = item_graphs(content, int(self.options.neighbours), self.options.image_weight)
        self.item_graphs = [SparseMatrix(graph) for graph in graphs.values()]
        self.item_graph = SparseMatrix(sum_of(graphs))
        self.add_content(content, self.options.dim, initialise=nn.init.xavier_normal_)
        self.edges_2E = np.unique(self.interactions_2N.numpy(), axis=1)
        user_E, item_E = self.edges_2E
        degree_E = np.bincount(user_E)[user_E] * np.bincount(item_E)[item_E]
        self.keep_E = torch.as_tensor(degree_E.astype(np.float64) ** -0.5)
        self.pruned: SparseMatrix | None = None
        self.add_attention(self.options.attention > 0)

    def batches(self, generator: torch.Generator) -> Sequence[Tensor]:
        kept = max(1, int(len(self.keep_E) * (1 - self.options.pruned)))
        # Weighted draws without replacement, by the largest of log weight plus Gumbel noise.
        noise = -torch.log(-torch.log(torch.rand(len(self.keep_E), generator=generator, dtype=torch.float64)))
        chosen = (self.keep_E.log() + noise).topk(kept).indices.numpy()
        self.pruned = self.build_graph(self.edges_2E[:, np.sort(chosen)])
        return super().batches(generator)

    def vectors(self) -> tuple[Tensor, Tensor]:
        if not self.plain:
            return super().vectors()
        users, items = self._propagated()
        return users, items + self.item_graph.to(items.device) @ self.items.weight

    def parts(self) -> Parts:
        users, items = self._propagated()
        similar_MID = torch.stack([graph.to(items.device) @ self.items.weight for graph in self.item_graphs])
        return Parts(users, items, users, similar_MID)

    def _propagated(self) -> tuple[Tensor, Tensor]:
        return self.propagate(self.pruned if self.training and self.pruned else self.graph)

    def triple_loss(self, user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        users, items = self.vectors()
        total = self.mean_loss(pair_losses(users[user], items[positive], items[negative]))
        return total + self._modal_loss(users, (user, positive, negative), None)

    def weighted_loss(self, parts: Parts, triples: tuple[Tensor, Tensor, Tensor], weights_BM: Tensor | None) -> Tensor:
        total = super().weighted_loss(parts, triples, weights_BM)
        return total + self._modal_loss(parts.users, triples, weights_BM)

    def _modal_loss(self, users: Tensor, triples: tuple[Tensor, Tensor, Tensor], weights_BM: Tensor | None) -> Tensor:
        """Return the losses on features alone, each times the interaction's weight of its modality."""
        user, positive, negative = triples
        total = users.new_zeros(())
        for m, name in enumerate(self.names):
            projected = self.projected(name)
            losses = pair_losses(users[user], projected[positive], projected[negative])
            total = total + self.mean_loss(losses if weights_BM is None else losses * weights_BM[:, m])
        return self.options.modal_weight * total


def sum_of(graphs: Mapping[str, csr_array]) -> csr_array:
    """Return the sum of the graphs (I, I)."""
    first, *others = graphs.values()
    return sum(others, first).tocsr()


def similar_items(content: dict[str, np.ndarray], neighbours: int, image_weight: float) -> csr_array:
    """Return the sum of the graphs of :func:`item_graphs` (I, I)."""
    return sum_of(item_graphs(content, neighbours, image_weight))


def item_graphs(content: dict[str, np.ndarray], neighbours: int, image_weight: float) -> dict[str, csr_array]:
    """Return modality -> its graph of nearest neighbours by cosine (I, I), normalised by degrees, times its weight.

    ``image`` has the weight ``image_weight`` and the others share the rest; without ``image``, or with it alone, all
    have the same weight.
    """
    graphs = {}
    for name, features in content.items():
        weight = 1 / len(content)
        if "image" in content and len(content) > 1:
            weight = image_weight if name == "image" else (1 - image_weight) / (len(content) - 1)
        graphs[name] = (weight * nearest_items(features, neighbours)).tocsr()
    return graphs


def nearest_items(features: np.ndarray, neighbours: int, *, by_cosine: bool = False) -> csr_array:
    """Return the graph of an item's nearest neighbours by cosine (I, I), itself among them, normalised by degrees.

    An edge counts 1, or with ``by_cosine`` its cosine, if that is positive. Zero rows of ``features`` have no edges.
    """
    from scipy.sparse import csr_array

    n_items = len(features)
    present = np.flatnonzero(items_with(features))
    unit = normalize(torch.as_tensor(features[present]), dim=1)
    k = min(neighbours, len(present))
    blocks = [(block @ unit.T).topk(k, dim=1) for block in torch.split(unit, 2048)]
    nearest = torch.cat([block.indices for block in blocks]).numpy()
    cosine = torch.cat([block.values for block in blocks]).clamp(min=0).numpy().ravel()
    ends = (np.repeat(present, k), present[nearest].ravel())
    graph = csr_array((cosine if by_cosine else np.ones_like(cosine), ends), shape=(n_items, n_items))
    return normalised(graph)


def normalised(graph: csr_array) -> csr_array:
    """Return D^-1/2 ``graph`` D^-1/2, with D the sums of its rows."""
    from scipy.sparse import diags_array

    scale = diags_array(np.maximum(graph.sum(axis=1), 1e-7) ** -0.5)
    return (scale @ graph @ scale).tocsr()
