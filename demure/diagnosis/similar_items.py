"""Items to compare an item with: similar in the other modalities, and clearly better in the doubtful one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from demure.diagnosis.reader import DiagnosisReader

_NEAREST = 50
_BATCH = 512


@dataclass(frozen=True)
class SimilarItem:
    """An item whose modality explains its choices better: ``similarity`` is the mean cosine in the other modalities,
    ``evidence`` the item's own mean in nats over ``interactions`` choices."""

    item_id: str
    similarity: float
    evidence: float
    interactions: int


def similar_items(
    reader: DiagnosisReader, deviations: pd.DataFrame, pairs: Sequence[tuple[str, str]], count: int = 3
) -> dict[tuple[str, str], list[SimilarItem]]:
    """Return for each (item, modality) of ``pairs`` up to ``count`` items to compare it with, most similar first.

    They are among the 50 nearest in the other modalities (cosine of the dataset's features, scaled as for training) and
    lie clearly above what is typical in ``deviations``, hence also above the item where it is flagged. A pair without
    other modalities, or whose features are gone, has no entry.
    """
    features, item_rows = reader.unit_features, reader.item_rows
    matches: dict[tuple[str, str], list[SimilarItem]] = {}
    for modality in dict.fromkeys(name for _, name in pairs):
        better = deviations[(deviations["modality"] == modality) & deviations["clearly"] & (deviations["below"] < 0)]
        better = better[better["item_id"].isin(item_rows.keys())]
        others = [name for name in features if name != modality]
        items = [item for item, name in pairs if name == modality and item in item_rows]
        if not others or better.empty or not items:
            continue
        rows = np.array([item_rows[item] for item in items])
        better_rows = np.array([item_rows[str(item)] for item in better["item_id"]])
        ids, evidence, interactions = (better[name].to_numpy() for name in ("item_id", "evidence", "interactions"))
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            cosine = sum(features[name][batch] @ features[name].T for name in others) / len(others)
            cosine[np.arange(len(batch)), batch] = -np.inf
            nearest = min(_NEAREST, cosine.shape[1])
            least = np.partition(cosine, -nearest, axis=1)[:, -nearest]
            similarity = np.where(cosine[:, better_rows] >= least[:, None], cosine[:, better_rows], -np.inf)
            best = np.argsort(-similarity, axis=1, kind="stable")[:, :count]
            for k, item in enumerate(items[start : start + _BATCH]):
                matches[item, modality] = [
                    SimilarItem(str(ids[b]), float(similarity[k, b]), float(evidence[b]), int(interactions[b]))
                    for b in best[k]
                    if similarity[k, b] > 0
                ]
    return matches


def nearest_items(
    reader: DiagnosisReader, item_id: str, among: Collection[str], count: int
) -> dict[str, list[tuple[str, float]]]:
    """Return for each modality up to ``count`` other items ``among`` these with the largest cosines to an item, and
    the cosines.

    The cosines are exact, of the dataset's features, scaled as for training. A modality that the item lacks, or whose
    features are gone, has no entry; items without positive cosine are left out.
    """
    row = reader.item_rows.get(item_id)
    matches: dict[str, list[tuple[str, float]]] = {}
    if row is None:
        return matches
    ids = [other for other in among if other != item_id and other in reader.item_rows]
    rows = np.array([reader.item_rows[other] for other in ids], np.int64)
    for name, unit in reader.unit_features.items():
        if not unit[row].any():
            continue
        cosine = (unit @ unit[row])[rows]
        best = np.argsort(-cosine, kind="stable")[:count]
        matches[name] = [(ids[k], min(float(cosine[k]), 1.0)) for k in best if cosine[k] > 0]
    return matches
