"""Ranking metrics. Each takes the hits of ranked lists and says what it measures, as a formula.

Legend: ``relevant`` (n,) how many relevant items each user has, at least 1; ``k`` the cut, which may exceed the list
(ranks beyond hold no hit). Every metric returns (n,) float64 in [0, 1], where larger is better. All of them are sums
over the hits up to rank k, so that they cost as much as there are hits, however long the lists.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Hits:
    """The relevant items that were listed: hit j is of user ``row[j]``, at rank ``rank[j]`` from 1, and is that user's
    ``nth[j]`` hit from 1; ``relevant`` (n,) of each user."""

    row: np.ndarray
    rank: np.ndarray
    nth: np.ndarray
    relevant: np.ndarray

    @classmethod
    def of(cls, row: np.ndarray, rank: np.ndarray, users: int) -> Hits:
        """From all relevant items: item r of user ``row[r]`` (R,) was listed at ``rank[r]`` (R,), or is not listed
        (0)."""
        listed = np.flatnonzero(rank > 0)
        order = listed[np.lexsort((rank[listed], row[listed]))]
        first = np.searchsorted(row[order], row[order])
        return cls(row[order], rank[order], np.arange(len(order)) - first + 1, np.bincount(row, minlength=users))

    def sum(self, k: int, weight: np.ndarray | None = None) -> np.ndarray:
        """(n,) each user's sum of ``weight`` over the hits, 1 each where None, up to rank ``k``."""
        inside = self.rank <= k
        weights = None if weight is None else weight[inside]
        return np.bincount(self.row[inside], weights, minlength=len(self.relevant)).astype(np.float64)


Metric = Callable[[Hits, int], np.ndarray]


def recall(hits: Hits, k: int) -> np.ndarray:
    """recall@k = (hits in the first k) / (relevant items); never 1 for a user with more than k of them."""
    return hits.sum(k) / hits.relevant


def precision(hits: Hits, k: int) -> np.ndarray:
    """precision@k = (hits in the first k) / k, also where fewer than k items could be listed."""
    return hits.sum(k) / k


def hit(hits: Hits, k: int) -> np.ndarray:
    """hit@k = 1 if the first k hold a relevant item, else 0."""
    return np.minimum(hits.sum(k), 1.0)


def mrr(hits: Hits, k: int) -> np.ndarray:
    """mrr@k = 1 / (rank of the first hit), 0 if the first k hold none."""
    return hits.sum(k, np.where(hits.nth == 1, 1.0 / hits.rank, 0.0))


def average_precision(hits: Hits, k: int) -> np.ndarray:
    """map@k = (sum over hits at rank r <= k of precision@r) / min(k, relevant).

    The divisor is that of the best list of length k, as in RecBole; trec_eval and ranx divide by ``relevant``.
    """
    return hits.sum(k, hits.nth / hits.rank) / np.minimum(k, hits.relevant)


def ndcg(hits: Hits, k: int) -> np.ndarray:
    """ndcg@k = (sum over hits at rank r <= k of 1/log2(r + 1)) / (sum over r <= min(k, relevant) of 1/log2(r + 1))."""
    best = np.minimum(k, hits.relevant)
    ideal = (1.0 / np.log2(np.arange(2, best.max(initial=1) + 2))).cumsum()
    return hits.sum(k, 1.0 / np.log2(hits.rank + 1.0)) / ideal[best - 1]


METRICS: dict[str, Metric] = {
    "recall": recall,
    "ndcg": ndcg,
    "hit": hit,
    "mrr": mrr,
    "map": average_precision,
    "precision": precision,
}


def measure(hits: Hits, ks: Sequence[int]) -> dict[str, np.ndarray]:
    """Every metric at each of ``ks``: name@k -> (n,)."""
    return {f"{name}@{k}": metric(hits, k) for name, metric in METRICS.items() for k in ks}
