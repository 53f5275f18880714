"""Ranking metrics. Each takes the hits of ranked lists and says what it measures, as a formula.

Legend: ``hits`` (B, K) bool, hits[b, r] is true when the item at rank r + 1 of user b is relevant; ``relevant`` (B,)
int, how many relevant items user b has, at least 1; ``k`` the cut, which may exceed K (ranks beyond hold no hit).
Every metric returns (B,) float64 in [0, 1], where larger is better.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Metric = Callable[[np.ndarray, np.ndarray, int], np.ndarray]


def recall(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """recall@k = (hits in the first k) / (relevant items); never 1 for a user with more than k of them."""
    return hits[:, :k].sum(axis=1) / relevant


def precision(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """precision@k = (hits in the first k) / k, also where fewer than k items could be listed."""
    return hits[:, :k].sum(axis=1) / float(k)


def hit(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """hit@k = 1 if the first k hold a relevant item, else 0."""
    return np.asarray(hits[:, :k].any(axis=1), np.float64)


def mrr(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """mrr@k = 1 / (rank of the first hit), 0 if the first k hold none."""
    top = hits[:, :k]
    return np.where(top.any(axis=1), 1.0 / (top.argmax(axis=1) + 1.0), 0.0).astype(np.float64)


def average_precision(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """map@k = (sum over hits at rank r <= k of precision@r) / min(k, relevant).

    The divisor is that of the best list of length k, as in RecBole; trec_eval and ranx divide by ``relevant``.
    """
    top = hits[:, :k]
    at_rank = top.cumsum(axis=1) / np.arange(1, top.shape[1] + 1)
    return (at_rank * top).sum(axis=1) / np.minimum(k, relevant)


def ndcg(hits: np.ndarray, relevant: np.ndarray, k: int) -> np.ndarray:
    """ndcg@k = (sum over hits at rank r <= k of 1/log2(r + 1)) / (sum over r <= min(k, relevant) of 1/log2(r + 1))."""
    top = hits[:, :k]
    discount = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = discount.cumsum()[np.minimum(k, relevant) - 1]
    return top @ discount[: top.shape[1]] / ideal


METRICS: dict[str, Metric] = {
    "recall": recall,
    "ndcg": ndcg,
    "hit": hit,
    "mrr": mrr,
    "map": average_precision,
    "precision": precision,
}


def measure(row: np.ndarray, rank: np.ndarray, users: int, ks: Sequence[int], longest: int) -> dict[str, np.ndarray]:
    """Every metric at each of ``ks`` for users 0 .. ``users`` - 1, name@k -> (users,), from their relevant items.

    Relevant item r of user ``row[r]`` (R,) was ranked at ``rank[r]`` (R,), from 1 to ``longest``; 0 if it was not
    listed. Each user has at least one relevant item.
    """
    hits = np.zeros((users, longest), bool)
    listed = rank > 0
    hits[row[listed], rank[listed] - 1] = True
    relevant = np.bincount(row, minlength=users)
    return {f"{name}@{k}": metric(hits, relevant, k) for name, metric in METRICS.items() for k in ks}
