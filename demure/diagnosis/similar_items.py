"""Items to compare with: nearest in the other modalities, and better borne out in the one that is in doubt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from demure.diagnosis.reader import DiagnosisSource

_AMONG = 50
_AT_ONCE = 512


@dataclass(frozen=True)
class Comparison:
    """An item whose ``modality`` does better: ``likeness`` is the mean cosine in the other modalities, ``evidence`` its
    own mean, ``interactions`` the choices that rests on."""

    item_id: str
    likeness: float
    evidence: float
    interactions: int


def comparisons(
    source: DiagnosisSource, table: pd.DataFrame, wanted: Sequence[tuple[str, str]], count: int = 3
) -> dict[tuple[str, str], list[Comparison]]:
    """For each (item, modality) of ``wanted`` up to ``count`` items to compare it with, nearest first.

    They are among the 50 nearest in the other modalities (cosine of the dataset's features, scaled as for training) and
    lie ``clearly`` above what is typical in ``table`` (``standing``), hence also above the item where it is flagged.
    Empty for an item without other modalities, and where the features are no longer there.
    """
    units, place = source.units, source.item_rows
    found: dict[tuple[str, str], list[Comparison]] = {}
    for modality in dict.fromkeys(name for _, name in wanted):
        good = table[(table["modality"] == modality) & table["clearly"] & (table["below"] < 0)]
        good = good[good["item_id"].isin(place.keys())]
        others = [name for name in units if name != modality]
        ask = [item for item, name in wanted if name == modality and item in place]
        if not others or good.empty or not ask:
            continue
        rows, ours = np.array([place[item] for item in ask]), np.array([place[str(item)] for item in good["item_id"]])
        ids, evidence, n = (good[name].to_numpy() for name in ("item_id", "evidence", "interactions"))
        for at in range(0, len(rows), _AT_ONCE):
            block = rows[at : at + _AT_ONCE]
            likeness = sum(units[name][block] @ units[name].T for name in others) / len(others)
            likeness[np.arange(len(block)), block] = -np.inf
            near = min(_AMONG, likeness.shape[1])
            least = np.partition(likeness, -near, axis=1)[:, -near]
            among = np.where(likeness[:, ours] >= least[:, None], likeness[:, ours], -np.inf)
            best = np.argsort(-among, axis=1, kind="stable")[:, :count]
            for k, item in enumerate(ask[at : at + _AT_ONCE]):
                found[item, modality] = [
                    Comparison(str(ids[b]), float(among[k, b]), float(evidence[b]), int(n[b]))
                    for b in best[k]
                    if among[k, b] > 0
                ]
    return found
