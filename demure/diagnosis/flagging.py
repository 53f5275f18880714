"""How far the mean evidence of an item's modality deviates from that of the other items, and which items are flagged.

An item that few people chose for its picture may have a fine picture and a finer text: the share of noise verdicts
compares the two for the people who chose the item. The evidence is about the modality alone: it detects swapped
pictures and texts (AUC .92) where the share of noise does not (.77 to .80; benchmarks/LOG.md). So items are ranked by
evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from demure.diagnosis.filtering import filter_rows, modality_column
from demure.diagnosis.reader import DiagnosisReader
from demure.diagnosis.table import DiagnosisTable
from demure.diagnosis.verdict import SIGNIFICANT_DEVIATIONS


@dataclass(frozen=True)
class VarianceComponents:
    """Of one modality's evidence: the ``mean`` over interactions, the variance ``within`` an item and ``between``
    items."""

    mean: float
    within: float
    between: float


def variance_components(item: np.ndarray, evidence: np.ndarray) -> VarianceComponents:
    """Return the components of one-way groups: ``item`` (n,) codes and ``evidence`` (n,), by the method of moments
    (Searle, Casella and McCulloch, "Variance components", 1992, section 3.6)."""
    counts = np.bincount(item)
    sums = np.bincount(item, weights=evidence)
    used = counts > 0
    n, groups = counts[used].astype(float), int(used.sum())
    if not groups:
        return VarianceComponents(float("nan"), 0.0, 0.0)
    mean, total = float(evidence.mean()), float(n.sum())
    means = sums[used] / n
    within_sum = float(np.square(evidence).sum() - (n * means**2).sum())
    if groups < 2 or total <= groups:
        return VarianceComponents(mean, max(within_sum, 0.0) / max(total - groups, 1.0), 0.0)
    within = max(within_sum, 0.0) / (total - groups)
    among = float((n * (means - mean) ** 2).sum()) / (groups - 1)
    size = (total - float((n**2).sum()) / total) / (groups - 1)
    return VarianceComponents(mean, within, max(0.0, (among - within) / size))


def deviations(reader: DiagnosisReader, table: DiagnosisTable | None = None) -> pd.DataFrame:
    """Return one row for every diagnosed (item, modality), furthest below what is typical first.

    Columns, which are also the keys of `demure inspect --json` and the fields of ``--where``: ``item_id``, ``title``,
    ``category``, ``modality``, ``interactions`` (with the modality), ``noise`` (share), ``mean_probability``,
    ``evidence`` (mean, nats), ``typical`` (the modality's mean over all interactions), ``below`` (the deviation: how
    many standard deviations between items the item lies below typical after shrinkage; positive is bad, negative is
    above typical) and ``clearly`` (whether the deviation is significant: 95 % of its posterior lie on that side of
    typical).

    Shrinkage: the best linear predictor of a one-way random-effects model, by :func:`variance_components`. ``table``:
    the interactions to take, all by default.
    """
    table = reader.table if table is None else table
    frames = []
    for m, name in enumerate(table.modalities):
        present = table.present[:, m]
        item, evidence = table.item[present], table.evidence[present, m].astype(np.float64)
        counts = np.bincount(item, minlength=len(table.item_ids))
        codes = np.flatnonzero(counts)
        n = counts[codes].astype(float)

        def item_means(
            values: np.ndarray, item: np.ndarray = item, codes: np.ndarray = codes, counts: np.ndarray = counts
        ) -> np.ndarray:
            means: np.ndarray = np.bincount(item, weights=values, minlength=len(counts))[codes] / counts[codes]
            return means

        components = variance_components(item, evidence)
        mean_evidence = item_means(evidence)
        weight = components.between / np.maximum(components.between + components.within / n, 1e-12)
        shrunken = weight * (mean_evidence - components.mean)
        standard_error = np.sqrt(np.maximum(components.between * (1 - weight), 0.0))
        unit = np.sqrt(components.between) if components.between > 0 else 1.0
        frames.append(
            pd.DataFrame(
                {
                    "item_id": table.item_ids[codes],
                    "modality": name,
                    "interactions": counts[codes],
                    "noise": 1 - item_means(table.poi[present, m].astype(float)),
                    "mean_probability": item_means(table.probability[present, m].astype(float)),
                    "evidence": mean_evidence,
                    "typical": components.mean,
                    "below": -shrunken / unit,
                    "clearly": np.abs(shrunken) > np.maximum(SIGNIFICANT_DEVIATIONS * standard_error, 1e-9),
                }
            )
        )
    frame = pd.concat(frames, ignore_index=True)
    titles, categories = reader.titles, reader.categories
    frame.insert(1, "title", [titles.get(str(item), "") for item in frame["item_id"]])
    frame.insert(2, "category", [", ".join(categories.get(str(item), ())) for item in frame["item_id"]])
    return frame.sort_values(["below", "interactions"], ascending=False, kind="stable", ignore_index=True)


def filter_items(
    rows: pd.DataFrame,
    all_rows: pd.DataFrame,
    where: Sequence[str] = (),
    sort: str | None = None,
    top: int | None = None,
) -> pd.DataFrame:
    """Return ``filtering.filter_rows`` of some ``rows`` of :func:`deviations`, by their columns and one more for each
    modality: the share of the item's choices for which it was a point of interest, whatever the modality of the row.

    ``all_rows``: the deviations of all modalities, from which the shares are taken.
    """
    shares = 1 - all_rows.set_index(["item_id", "modality"])["noise"].unstack()
    own = shares.reindex(rows["item_id"]).set_axis(rows.index)
    own.columns = [modality_column(str(name), rows.columns) for name in own.columns]
    return rows.loc[filter_rows(rows.join(own), where, sort, top).index]


def flagged(frame: pd.DataFrame, min_count: int) -> pd.DataFrame:
    """Return the rows of :func:`deviations` below what is typical (``below`` > 0, which is bad) with at least
    ``min_count`` choices, worst first."""
    low = (frame["below"] > 0) & (frame["interactions"] >= min_count)
    return frame[low].reset_index(drop=True)
