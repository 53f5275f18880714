"""Define the metrics once: the table of all metrics, names such as ``recall@20``, and the formulas of ranking accuracy.

Legend: n users; ``relevant`` (n,) the number of relevant items of each user, at least 1; ``k`` the cutoff, which may
exceed the length of the list (ranks beyond it hold no hit).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Hits:
    """The relevant items that were listed: hit j belongs to user ``row[j]``, at rank ``rank[j]`` from 1, and is that
    user's ``nth[j]`` hit from 1; ``relevant`` (n,) counts the relevant items of each user."""

    row: Ints
    rank: Ints
    nth: Ints
    relevant: Ints

    @classmethod
    def of(cls, row: np.ndarray, rank: np.ndarray, users: int) -> Hits:
        """Collect the hits among all relevant items: item r of user ``row[r]`` (R,) was listed at ``rank[r]`` (R,), or
        is not listed (0)."""
        listed = np.flatnonzero(rank > 0)
        order = listed[np.lexsort((rank[listed], row[listed]))]
        first = np.searchsorted(row[order], row[order])
        return cls(row[order], rank[order], np.arange(len(order)) - first + 1, np.bincount(row, minlength=users))

    def sum(self, k: int, weight: Floats | None = None) -> Floats:
        """Return (n,) each user's sum of ``weight`` (1 for each hit where None) over the hits up to rank ``k``."""
        inside = self.rank <= k
        weights = None if weight is None else weight[inside]
        return np.bincount(self.row[inside], weights, minlength=len(self.relevant)).astype(np.float64)


# Every formula is a sum over the hits up to rank k, so it costs as much as there are hits, however long the lists are.
# Each takes the hits and k, and returns (n,) float64 in [0, 1].


def recall(hits: Hits, k: int) -> Floats:
    """recall@k = (hits in the first k) / (relevant items); below 1 for a user with more than k relevant items."""
    return hits.sum(k) / hits.relevant


def precision(hits: Hits, k: int) -> Floats:
    """precision@k = (hits in the first k) / k, also where fewer than k items could be listed."""
    return hits.sum(k) / k


def hit(hits: Hits, k: int) -> Floats:
    """hit@k = 1 if the first k hold a relevant item, else 0."""
    return np.minimum(hits.sum(k), 1.0)


def mrr(hits: Hits, k: int) -> Floats:
    """mrr@k = 1 / (rank of the first hit), 0 if the first k hold none."""
    return hits.sum(k, np.where(hits.nth == 1, 1.0 / hits.rank, 0.0))


def average_precision(hits: Hits, k: int) -> Floats:
    """map@k = (sum over hits at rank r <= k of precision@r) / min(k, relevant).

    The divisor is the value of the best list of length k, as in RecBole; trec_eval and ranx divide by ``relevant``.
    """
    return hits.sum(k, hits.nth / hits.rank) / np.minimum(k, hits.relevant)


def ndcg(hits: Hits, k: int) -> Floats:
    """ndcg@k = (sum over hits at rank r <= k of 1/log2(r + 1)) / (sum over r <= min(k, relevant) of 1/log2(r + 1))."""
    best = np.minimum(k, hits.relevant)
    ideal_sums = (1.0 / np.log2(np.arange(2, best.max(initial=1) + 2))).cumsum()
    ideal: Floats = ideal_sums[best - 1]
    return hits.sum(k, 1.0 / np.log2(hits.rank + 1.0)) / ideal


@dataclass(frozen=True)
class Metric:
    """A row of the table of metrics.

    ``kind``: accuracy (one value per user, from the hits), list (one value per user, from the items of the list),
    catalogue (one value for the lists of all users together) or slice (one value for a slice of items). ``digits``:
    decimals to print. ``higher_is_better``: False where neither direction is better by itself. ``needs``: the data
    beside the ranked lists. ``formula``: set for accuracy; the others are in ``beyond_accuracy`` and ``slices``.
    """

    name: str
    kind: Literal["accuracy", "list", "catalogue", "slice"]
    digits: int
    higher_is_better: bool
    needs: Literal["relevant items", "nothing", "training counts", "features"]
    formula: Callable[[Hits, int], Floats] | None = None


ILD = "ild"
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("recall", "accuracy", 4, True, "relevant items", recall),
        Metric("ndcg", "accuracy", 4, True, "relevant items", ndcg),
        Metric("hit", "accuracy", 4, True, "relevant items", hit),
        Metric("mrr", "accuracy", 4, True, "relevant items", mrr),
        Metric("map", "accuracy", 4, True, "relevant items", average_precision),
        Metric("precision", "accuracy", 4, True, "relevant items", precision),
        Metric("coverage", "catalogue", 4, False, "nothing"),
        Metric("gini", "catalogue", 4, False, "nothing"),
        Metric("novelty", "list", 2, False, "training counts"),
        Metric("arp", "list", 1, False, "training counts"),
        Metric(ILD, "list", 4, False, "features"),  # one metric per modality: ild-image, ild-text
        Metric("exposure", "slice", 4, False, "nothing"),
    )
}
ACCURACY = tuple(name for name, metric in METRICS.items() if metric.kind == "accuracy")
PER_USER = tuple(name for name, metric in METRICS.items() if metric.kind in ("accuracy", "list") and name != ILD)


def find_metric(name: str) -> Metric | None:
    """Return the row of the metric ``name`` (without ``@k``), None if there is none; ``ild-image`` is row ``ild``."""
    base, _, modality = name.partition("-")
    if base == ILD:
        return METRICS[ILD] if modality else None
    return METRICS.get(name)


@dataclass(frozen=True)
class MetricAtK:
    """A metric and its cutoff; ``str()`` writes it as ``recall@20``."""

    name: str
    k: int

    def __str__(self) -> str:
        return f"{self.name}@{self.k}"

    @classmethod
    def parse(cls, text: str) -> MetricAtK:
        """Read ``recall@20``. Raises ``ValueError`` for another form."""
        name, separator, k = text.rpartition("@")
        if not (name and separator and k.isdecimal()):
            raise ValueError(f"{text!r} is not METRIC@K, such as recall@20")
        return cls(name, int(k))

    @property
    def metric(self) -> Metric:
        """The row of the table; raises ``KeyError`` for a metric that is not in it."""
        metric = find_metric(self.name)
        if metric is None:
            raise KeyError(self.name)
        return metric


def cutoffs(names: Iterable[str]) -> list[int]:
    """Return the cutoffs in ``names``, ascending and each once: ``recall@20``, ``ndcg@5`` give 5 and 20."""
    return sorted({MetricAtK.parse(name).k for name in names})


def measure(hits: Hits, ks: Sequence[int]) -> dict[str, np.ndarray]:
    """Return every accuracy metric at each of ``ks``: name@k -> (n,)."""
    return {
        str(MetricAtK(name, k)): metric.formula(hits, k)
        for name, metric in METRICS.items()
        if metric.formula is not None
        for k in ks
    }
