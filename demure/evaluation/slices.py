"""Measure the same ranking on slices: parts of the users, or of the relevant items.

A slice of users averages the metrics of its users. A slice of items counts only its own relevant items: the ranking is
over all items as before, relevant items outside the slice are neither hits nor misses, and a user without a relevant
item in the slice is not in it.

Legend: U users; I items.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from demure.evaluation.metrics import Hits, MetricAtK, cutoffs, measure
from demure.evaluation.ranking import mean_of

if TYPE_CHECKING:
    import pandas as pd

    from demure.data.histories import Histories
    from demure.evaluation.beyond_accuracy import Catalogue
    from demure.evaluation.ranking import Evaluation

HEAD_END, TAIL_START = 0.2, 0.8  # of all choices, the items sorted by popularity
NO_DIAGNOSIS = "not diagnosed"  # the label of users without a training interaction, who have no verdicts
_LENGTHS = (1, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class Slicing:
    """A division of users or items: ``labels`` in order; ``code`` (U,) or (I,) int64, the index of the label of each
    user or item, -1 for none."""

    name: str
    over: Literal["users", "items"]
    labels: tuple[str, ...]
    code: np.ndarray


@dataclass(frozen=True)
class Slice:
    """Part ``slice`` of the slicing ``by``: the number of its ``users`` and ``relevant`` items, and the metrics
    ``per_user``. ``exposure``, for slices of items: k -> share of all places in the lists that its items take."""

    by: str
    slice: str
    users: int
    relevant: int
    per_user: dict[str, np.ndarray]
    exposure: dict[int, float]

    def means(self) -> dict[str, float]:
        """Return each metric's mean over the slice's users, and ``exposure@k``."""
        means = {name: mean_of(values) for name, values in self.per_user.items()}
        return means | {str(MetricAtK("exposure", k)): share for k, share in self.exposure.items()}


def slices(evaluation: Evaluation, slicing: Slicing) -> list[Slice]:
    """Return the slices that are not empty, in the order of the labels."""
    ranks = evaluation.relevant_ranks
    assert ranks is not None, "relevant_ranks is missing: use evaluate()"
    ks = cutoffs(evaluation.per_user)
    parts = []
    for code, label in enumerate(slicing.labels):
        exposure: dict[int, float] = {}
        if slicing.over == "users":
            user_rows = np.flatnonzero(slicing.code[evaluation.users] == code)
            relevant = int(np.isin(ranks.row, user_rows).sum())
            per_user = {name: values[user_rows] for name, values in evaluation.per_user.items()}
        else:
            inside = slicing.code == code
            in_slice = inside[ranks.item]
            relevant = int(in_slice.sum())
            user_rows, row_of_rank = np.unique(ranks.row[in_slice], return_inverse=True)
            per_user = measure(Hits.of(row_of_rank, ranks.rank[in_slice], len(user_rows)), ks)
            exposure = {
                k: float(counts[inside].sum() / counts.sum())
                for k, counts in evaluation.list_counts.items()
                if counts.any()
            }
        if len(user_rows):
            parts.append(Slice(slicing.name, label, len(user_rows), relevant, per_user, exposure))
    return parts


def item_warmth(catalogue: Catalogue) -> Slicing:
    """Divide items into cold items, which nobody chose in training, and the others."""
    return Slicing("items", "items", ("cold", "warm"), np.where(catalogue.popularity > 0, 1, 0))


def user_warmth(past: Histories) -> Slicing:
    """Divide users into cold users, who have no history before the split, and the others."""
    return Slicing("users", "users", ("cold", "warm"), np.where(past.lengths > 0, 1, 0))


def popularity_bands(catalogue: Catalogue) -> Slicing:
    """Divide items into head, middle and tail: sorted by their number of users, the head holds the first 20 % of all
    choices, the tail the last 20 % (Abdollahpouri et al., FLAIRS 2019). Items of equal popularity are in the same band,
    the band of the midpoint of their choices; items without a choice are in the tail."""
    # np.unique sorts upwards: the most popular items come first.
    negated, level, count = np.unique(-catalogue.popularity, return_inverse=True, return_counts=True)
    choices = -negated * count
    midpoint = (np.cumsum(choices) - choices / 2) / max(choices.sum(), 1)
    band = np.where(midpoint <= HEAD_END, 0, np.where(midpoint <= TAIL_START, 1, 2))
    band[negated == 0] = 2
    return Slicing("popularity", "items", ("head", "middle", "tail"), band[level])


def history_lengths(past: Histories) -> Slicing:
    """Divide users by the number of interactions before the split."""
    bounds = [f"{low}-{high - 1}" for low, high in pairwise(_LENGTHS)]
    labels = ("0", *bounds, f"{_LENGTHS[-1]}+")
    return Slicing("history", "users", labels, np.searchsorted(_LENGTHS, past.lengths, side="right"))


def modalities_present(catalogue: Catalogue) -> Slicing:
    """Divide items by the modalities that they have: all modalities first, none last."""
    names = list(catalogue.present)
    has = np.stack(list(catalogue.present.values()), axis=1)
    kinds, place = np.unique(has, axis=0, return_inverse=True)
    order = np.lexsort((*(~kinds).T[::-1], -kinds.sum(axis=1)))
    labels = ["+".join(name for name, has_it in zip(names, kinds[k], strict=True) if has_it) for k in order]
    return Slicing("modalities", "items", tuple(label or "none" for label in labels), np.argsort(order)[place.ravel()])


def most_relied_on(reliance: pd.DataFrame, user_ids: np.ndarray) -> Slicing:
    """Divide users by the modality with the largest share of their choices (``none``: popularity, transition or taste),
    read from a run's reliance.parquet; users without a training interaction get the label ``NO_DIAGNOSIS``."""
    most = reliance.loc[reliance.groupby("user_id")["reliance"].idxmax()].set_index("user_id")["modality"]
    names = list(reliance["modality"].unique())
    labels = (*names, NO_DIAGNOSIS)
    code = {name: k for k, name in enumerate(labels)}
    return Slicing(
        "reliance", "users", labels, most.reindex(user_ids).fillna(NO_DIAGNOSIS).map(code).to_numpy(np.int64)
    )
