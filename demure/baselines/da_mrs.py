"""DA-MRS: similar items by consistent content, interactions weighed by all views, views aligned.

G. Xv et al., "Improving multi-modal recommender systems by denoising and aligning multi-modal content and user
feedback", KDD 2024, arXiv 2406.12501. Three ideas: an edge of the item graph stands only if the two items are similar
in *every* modality, beside a graph of items chosen together; a triple of BPR counts less where the views disagree on
it; the views' nearest items, and the users' preferences by interactions and by content, are aligned.

Departures: the alignment is computed on ``anchors`` users and items that a step draws from its batch, and not on all of
the batch (an unbiased sample of the same mean, at a tenth of the time); the graph of items chosen together counts the
users of both items, of which the ``neighbours`` with the largest cosine stay (the authors ship a file); an item that
lacks a modality is not compared by it; only a view in which an item has edges counts for the item.

Shape suffixes: U users, I items, B triples of a batch, K anchors, V views (the modalities and `together`), P pseudo
labels, D dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, normalize

from demure.baselines.content import required_content
from demure.baselines.graph import LightGCN, LightGCNOptions, SparseMatrix, normalised
from demure.baselines.learned import Task
from demure.baselines.sparse import history_matrix

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_LABELS = 10
"""Pseudo labels of each kind for an item, as in the authors' code."""


@dataclass(frozen=True)
class DAMRSOptions(LightGCNOptions):
    """``neighbours`` of an item in each graph, ``item_layers`` of propagation over it; ``contrast_weight`` of the loss
    on the views' nearest items, ``align_weight`` of that between preferences; ``anchors`` of a step for both."""

    neighbours: int = 10
    item_layers: int = 1
    contrast_weight: float = 1e-2
    align_weight: float = 1.0
    temperature: float = 0.2
    anchors: int = 256


class DAMRS(LightGCN):
    """LightGCN whose items also have the mean of their views; a view propagates the embeddings over an item graph."""

    compares_rows = True
    options: DAMRSOptions
    has_view_IV: Tensor

    def __init__(self, task: Task, options: DAMRSOptions | None = None) -> None:
        super().__init__(task, options or DAMRSOptions())
        content, count = required_content(task, "da-mrs"), int(self.options.neighbours)
        graphs = [*consistent_items(content, count).values(), items_together(task, count)]
        has_view_IV = np.stack([np.asarray(graph.sum(axis=1)) > 0 for graph in graphs], axis=1)
        self.register_buffer("has_view_IV", torch.as_tensor(has_view_IV), persistent=False)
        self.graphs = [SparseMatrix(graph) for graph in graphs]

    def views(self) -> list[Tensor]:
        """Return the vectors of all items in each view, V times (I, D)."""
        views = []
        for graph in self.graphs:
            items_ID = self.items.weight
            for _ in range(int(self.options.item_layers)):
                items_ID = graph.to(items_ID.device) @ items_ID
            views.append(items_ID)
        return views

    def vectors(self) -> tuple[Tensor, Tensor]:
        users, items = self.propagate(self.graph)
        return users, items + self.mean_of(self.views())

    def mean_of(self, views: list[Tensor]) -> Tensor:
        """Return the mean of the views that an item has (I, D)."""
        mean_ID: Tensor = torch.stack(views).sum(0) / self.has_view_IV.sum(1, keepdim=True)
        return mean_ID

    def triple_loss(self, user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        users, items = self.propagate(self.graph)
        views = self.views()
        content = self.mean_of(views)
        both = items + content
        margin_B = (users[user] * (both[positive] - both[negative])).sum(1)
        with torch.no_grad():
            chosen_BV, other_BV = (self.preferences(users[user], views, item) for item in (positive, negative))
            true_B, false_B = feedback_weights(
                chosen_BV, self.has_view_IV[positive], other_BV[self.has_view_IV[negative]].mean()
            )
        loss = self.mean_loss(-(true_B * logsigmoid(margin_B) + false_B * logsigmoid(-margin_B)))
        # A batch is in random order, so that its first rows are a random sample.
        anchors = int(self.options.anchors)
        rows = torch.cat([positive, negative])[:: max(1, 2 * len(user) // anchors)]
        loss = loss + self.options.align_weight * preference_gap(users[user[:anchors]], items[rows], content[rows])
        loss = loss + self.options.contrast_weight * self.relation_loss(views, rows)
        return loss + self.penalty(user, positive, negative)

    def preferences(self, users_BD: Tensor, views: list[Tensor], item: Tensor) -> Tensor:
        """Return how probable each view makes the pairs of users (B, D) and items (B,), (B, V)."""
        return torch.stack([(users_BD * normalize(view[item], dim=1)).sum(1).sigmoid() for view in views], dim=1)

    def relation_loss(self, views: list[Tensor], rows_K: Tensor) -> Tensor:
        """Return the mean over views and anchors of a contrast with graded pseudo labels.

        The first labels are the items that all views find near (the view itself counts twice), the second the nearest
        further ones of this view alone. Of all items the first have to be the nearest, and the second of the others.
        """
        units = [normalize(view, dim=1) for view in views]
        cosines = [unit[rows_K] @ unit.T for unit in units]
        labels = min(_LABELS, len(views[0]) // 2)
        with torch.no_grad():
            near = [cosine.softmax(dim=1) for cosine in cosines]
            total_KI = torch.stack(near).sum(0)
        loss = views[0].new_zeros(())
        for own_KI, cosine_KI in zip(near, cosines, strict=True):
            first_KP = (total_KI + own_KI).topk(labels, dim=1).indices
            second_KP = own_KI.scatter(1, first_KP, 0.0).topk(labels, dim=1).indices
            weight_KI = (cosine_KI / self.options.temperature).exp()
            first_K, second_K = (weight_KI.gather(1, index).sum(1) for index in (first_KP, second_KP))
            total_K = weight_KI.sum(1)
            loss = loss - ((first_K / total_K).log() + (second_K / (total_K - first_K)).log()).mean()
        return loss / len(views)


def feedback_weights(chosen_BV: Tensor, has_view_BV: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Return how much each triple counts as it is, and with its items exchanged, (B,) each between 0 and 1.

    ``chosen_BV``: the views' probabilities of the positive item; ``other``: the mean over negative items. A triple
    counts by the mean of its views times exp(-2 variance); exchanged, if that mean is below ``other``, by how far its
    best view lies above.
    """
    count_B = has_view_BV.sum(1)
    mean_B = (chosen_BV * has_view_BV).sum(1) / count_B
    squares_BV = (chosen_BV - mean_B[:, None]).square() * has_view_BV
    variance_B = squares_BV.sum(1) / (count_B - 1).clamp(min=1)
    best_B = chosen_BV.masked_fill(~has_view_BV, 0.0).max(dim=1).values
    exchanged_B = (best_B - other).clamp(0, 1) * (mean_B < other)
    return mean_B * (-2 * variance_B).exp(), exchanged_B


def preference_gap(users_KD: Tensor, items_KD: Tensor, content_KD: Tensor) -> Tensor:
    """Return the mean symmetric Kullback-Leibler divergence of the users' preferences by interactions and by content.

    Of two Bernoulli variables with logits a and b it is (sigmoid(a) - sigmoid(b)) (a - b).
    """
    first_KK, second_KK = (users_KD @ normalize(part, dim=1).T for part in (items_KD, content_KD))
    return ((first_KK.sigmoid() - second_KK.sigmoid()) * (first_KK - second_KK)).mean()


def consistent_items(content: Mapping[str, np.ndarray], neighbours: int) -> dict[str, csr_array]:
    """Return each modality's graph of nearest items by cosine (I, I), among those similar in every modality.

    Two items are similar in a modality that both have if their cosine is at least the mean over all pairs.
    """
    from scipy.sparse import csr_array

    units = {name: normalize(torch.as_tensor(features), dim=1) for name, features in content.items()}
    present = {name: unit.abs().sum(1) > 0 for name, unit in units.items()}
    ends: dict[str, list[np.ndarray]] = {name: [] for name in content}
    n_items = len(next(iter(units.values())))
    means = {name: unit[present[name]].mean(0).square().sum() for name, unit in units.items()}
    for rows in torch.split(torch.arange(n_items), 1024):
        cosines = {name: unit[rows] @ unit.T for name, unit in units.items()}
        consistent = torch.ones(len(rows), n_items, dtype=torch.bool)
        for name, cosine in cosines.items():
            compared = present[name][rows, None] & present[name]
            consistent &= (cosine >= means[name]) | ~compared
        for name, cosine in cosines.items():
            allowed = consistent & present[name][rows, None] & present[name]
            values, nearest = cosine.masked_fill(~allowed, -2.0).topk(min(neighbours, n_items), dim=1)
            kept = (values > -2.0).numpy()
            ends[name].append(np.stack([np.broadcast_to(rows[:, None], kept.shape)[kept], nearest.numpy()[kept]]))
    return {name: _graph(csr_array, np.concatenate(pairs, axis=1), n_items) for name, pairs in ends.items()}


def items_together(task: Task, neighbours: int) -> csr_array:
    """Return the graph of an item and the items that the same users chose (I, I), the nearest by cosine."""
    from scipy.sparse import csr_array

    chosen_UI = history_matrix(task.train, task.n_items)
    length_I = np.sqrt(np.maximum(np.asarray(chosen_UI.sum(axis=0)), 1.0))
    counts_II = (chosen_UI.T @ chosen_UI).tocoo()
    item, other = counts_II.coords
    cosine = counts_II.data / (length_I[item] * length_I[other])
    order = np.lexsort((-cosine, item))
    place = np.arange(len(order)) - np.searchsorted(item[order], item[order])
    kept = order[place < neighbours]
    # Every item has an edge with itself, also one that nobody chose.
    itself = np.arange(task.n_items)
    pairs = np.unique(np.stack([np.append(item[kept], itself), np.append(other[kept], itself)]), axis=1)
    return _graph(csr_array, pairs, task.n_items)


def _graph(kind: type[csr_array], pairs_2E: np.ndarray, n_items: int) -> csr_array:
    ones = np.ones(pairs_2E.shape[1], np.float32)
    return normalised(kind((ones, (pairs_2E[0], pairs_2E[1])), shape=(n_items, n_items)))
