"""Where an item's modality stands among those of the other items: its mean evidence, as far as its choices bear it out.

An item that few chose for its picture may have a fine picture and a finer text: the share of noise verdicts tells how
the two compare in the eyes of those who chose it. The evidence is about the modality alone, and finds swapped pictures
and texts (AUC .92) where the share of noise does not (.77 to .80; benchmarks/LOG.md). So items are ranked by evidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from demure.diagnosis.reader import DiagnosisSource
from demure.diagnosis.table import Judged

_CLEAR = 1.645  # standard deviations: nine of ten, or one-sided nineteen of twenty


@dataclass(frozen=True)
class Spread:
    """Of one modality's evidence: its ``mean`` over interactions, the variance ``within`` an item, and ``between``
    items."""

    mean: float
    within: float
    between: float


def spread(item: np.ndarray, evidence: np.ndarray) -> Spread:
    """Variance components of one-way groups: ``item`` (n,) codes and ``evidence`` (n,), by the method of moments
    (Searle, Casella and McCulloch, "Variance components", 1992, section 3.6)."""
    counts = np.bincount(item)
    sums = np.bincount(item, weights=evidence)
    used = counts > 0
    n, groups = counts[used].astype(float), int(used.sum())
    if not groups:
        return Spread(float("nan"), 0.0, 0.0)
    mean, total = float(evidence.mean()), float(n.sum())
    means = sums[used] / n
    within_sum = float(np.square(evidence).sum() - (n * means**2).sum())
    if groups < 2 or total <= groups:
        return Spread(mean, max(within_sum, 0.0) / max(total - groups, 1.0), 0.0)
    within = max(within_sum, 0.0) / (total - groups)
    among = float((n * (means - mean) ** 2).sum()) / (groups - 1)
    size = (total - float((n**2).sum()) / total) / (groups - 1)
    return Spread(mean, within, max(0.0, (among - within) / size))


def standing(source: DiagnosisSource, judged: Judged | None = None) -> pd.DataFrame:
    """One row for every (item, modality) that was judged: ``item_id``, ``title``, ``category``, ``modality``,
    ``interactions`` (where the modality is there), ``noise`` (share), ``mean_probability``, ``evidence`` (mean, nats),
    ``typical`` (the modality's mean over all interactions), ``below`` (how many standard deviations between items the
    item lies below that, after shrinking it towards it for want of choices; negative: above) and ``clearly`` (whether
    nine of ten of what it could be lies on that side).

    Shrinking: the best linear predictor of a one-way random-effects model, by the variances of :func:`spread`.
    Sorted by ``below``, largest first.
    """
    judged = source.judged if judged is None else judged
    frames = []
    for m, name in enumerate(judged.modalities):
        chosen = judged.present[:, m]
        item, evidence = judged.item[chosen], judged.evidence[chosen, m].astype(np.float64)
        n = np.bincount(item, minlength=len(judged.item_ids))
        at = np.flatnonzero(n)
        count = n[at].astype(float)

        def mean(values: np.ndarray, item: np.ndarray = item, at: np.ndarray = at, n: np.ndarray = n) -> np.ndarray:
            return np.bincount(item, weights=values, minlength=len(n))[at] / n[at]

        known = spread(item, evidence)
        own = mean(evidence)
        weight = known.between / np.maximum(known.between + known.within / count, 1e-12)
        shrunk = weight * (own - known.mean)
        doubt = np.sqrt(np.maximum(known.between * (1 - weight), 0.0))
        unit = np.sqrt(known.between) if known.between > 0 else 1.0
        frames.append(
            pd.DataFrame(
                {
                    "item_id": judged.item_ids[at],
                    "modality": name,
                    "interactions": n[at],
                    "noise": 1 - mean(judged.poi[chosen, m].astype(float)),
                    "mean_probability": mean(judged.probability[chosen, m].astype(float)),
                    "evidence": own,
                    "typical": known.mean,
                    "below": -shrunk / unit,
                    "clearly": np.abs(shrunk) > np.maximum(_CLEAR * doubt, 1e-9),
                }
            )
        )
    table = pd.concat(frames, ignore_index=True)
    titles, categories = source.titles, source.categories
    table.insert(1, "title", [titles.get(str(item), "") for item in table["item_id"]])
    table.insert(2, "category", [", ".join(categories.get(str(item), ())) for item in table["item_id"]])
    return table.sort_values(["below", "interactions"], ascending=False, kind="stable", ignore_index=True)


def flagged(table: pd.DataFrame, min_count: int) -> pd.DataFrame:
    """Those of :func:`standing` that lie below what is typical, with at least ``min_count`` choices; worst first."""
    low = (table["below"] > 0) & (table["interactions"] >= min_count)
    return table[low].reset_index(drop=True)
