"""For whom and for what does it work? The same ranking, measured on parts of the users or of the relevant items.

A slice of users averages the metrics of its users. A slice of items asks only for its relevant items: the ranking is
over all items as before, what else is relevant counts neither as a hit nor as missed, and a user without a relevant
item in the slice is not in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np

from demure.evaluation.metrics import Hits, measure
from demure.evaluation.ranking import mean_of

if TYPE_CHECKING:
    import pandas as pd

    from demure.data.histories import Histories
    from demure.evaluation.lists import Catalogue
    from demure.evaluation.ranking import Evaluation

HEAD, TAIL = 0.2, 0.8
_LENGTHS = (1, 5, 10, 20, 50, 100)


@dataclass(frozen=True)
class Slicing:
    """``labels`` in order; ``code`` (U,) or (I,) int64 says which of them each user or item has, -1 for none."""

    name: str
    over: Literal["users", "items"]
    labels: tuple[str, ...]
    code: np.ndarray


@dataclass(frozen=True)
class Slice:
    """Part ``slice`` of the slicing ``by``: ``users`` have one of its ``relevant`` items, and the metrics ``per_user``.
    ``exposure``: k -> share of all places in the lists that items of the slice take, for slices of items."""

    by: str
    slice: str
    users: int
    relevant: int
    per_user: dict[str, np.ndarray]
    exposure: dict[int, float]

    def means(self) -> dict[str, float]:
        """Each metric's mean over the slice's users, and ``exposure@k``."""
        means = {name: mean_of(values) for name, values in self.per_user.items()}
        return means | {f"exposure@{k}": share for k, share in self.exposure.items()}


def slices(evaluation: Evaluation, slicing: Slicing) -> list[Slice]:
    """The parts that are not empty, in the order of the labels."""
    found = evaluation.found
    assert found is not None, "an evaluation made by hand has no slices"
    ks = sorted({int(name.rpartition("@")[2]) for name in evaluation.per_user})
    parts = []
    for code, label in enumerate(slicing.labels):
        exposure: dict[int, float] = {}
        if slicing.over == "users":
            rows = np.flatnonzero(slicing.code[evaluation.users] == code)
            relevant = int(np.isin(found.row, rows).sum())
            per_user = {name: values[rows] for name, values in evaluation.per_user.items()}
        else:
            inside = slicing.code == code
            asked = inside[found.item]
            relevant = int(asked.sum())
            rows, row = np.unique(found.row[asked], return_inverse=True)
            per_user = measure(Hits.of(row, found.rank[asked], len(rows)), ks)
            exposure = {
                k: float(counts[inside].sum() / counts.sum()) for k, counts in evaluation.listed.items() if counts.any()
            }
        if len(rows):
            parts.append(Slice(slicing.name, label, len(rows), relevant, per_user, exposure))
    return parts


def item_warmth(catalogue: Catalogue) -> Slicing:
    """Cold items, which nobody had in training, and the others."""
    return Slicing("items", "items", ("cold", "warm"), np.where(catalogue.popularity > 0, 1, 0))


def user_warmth(seen: Histories) -> Slicing:
    """Cold users, who have no history before the split, and the others."""
    return Slicing("users", "users", ("cold", "warm"), np.where(np.diff(seen.indptr) > 0, 1, 0))


def popularity_bands(catalogue: Catalogue) -> Slicing:
    """Head, middle and tail: items in the order of their users, the head up to 20 % of all choices, the tail the last
    20 % (Abdollahpouri et al., FLAIRS 2019); items of equal popularity are in the same band, that of their middle."""
    had = catalogue.popularity
    values, place, count = np.unique(-had, return_inverse=True, return_counts=True)
    mass = -values * count
    middle = (np.cumsum(mass) - mass / 2) / max(mass.sum(), 1)
    band = np.where(middle <= HEAD, 0, np.where(middle <= TAIL, 1, 2))
    band[values == 0] = 2
    return Slicing("popularity", "items", ("head", "middle", "tail"), band[place])


def history_lengths(seen: Histories) -> Slicing:
    """Users by the number of interactions before the split."""
    bounds = [f"{low}-{high - 1}" for low, high in pairwise(_LENGTHS)]
    labels = ("0", *bounds, f"{_LENGTHS[-1]}+")
    return Slicing("history", "users", labels, np.searchsorted(_LENGTHS, np.diff(seen.indptr), side="right"))


def modalities_present(catalogue: Catalogue) -> Slicing:
    """Items by which modalities they have: all of them first, none of them last."""
    names = list(catalogue.present)
    has = np.stack(list(catalogue.present.values()), axis=1)
    kinds, place = np.unique(has, axis=0, return_inverse=True)
    order = np.lexsort((*(~kinds).T[::-1], -kinds.sum(axis=1)))
    labels = ["+".join(name for name, there in zip(names, kinds[at], strict=True) if there) for at in order]
    return Slicing("modalities", "items", tuple(label or "none" for label in labels), np.argsort(order)[place.ravel()])


def most_relied_on(reliance: pd.DataFrame, user_ids: np.ndarray) -> Slicing:
    """Users by the modality that the largest share of their choices is put down to (``none``: to none that is known),
    from a run's reliance.parquet; those without a training interaction are ``not judged``."""
    most = reliance.loc[reliance.groupby("user_id")["reliance"].idxmax()].set_index("user_id")["modality"]
    names = list(reliance["modality"].unique())
    labels = (*names, "not judged")
    code = {name: at for at, name in enumerate(labels)}
    return Slicing(
        "reliance", "users", labels, most.reindex(user_ids).fillna("not judged").map(code).to_numpy(np.int64)
    )
