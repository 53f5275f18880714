"""The finished diagnosis: for every training interaction and modality a probability, a verdict, and what spoke for it.

Leave-one-out over the whole training history of each user: all the other interactions judge this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from demure.files import atomic_file
from demure.model.batch import Context
from demure.model.denoiser import RIVALS, Denoiser, Inferred
from demure.progress import Listener, Progress
from demure.training.belief_propagation import finished

if TYPE_CHECKING:
    from demure.data.dataset import Dataset
    from demure.data.histories import Histories
    from demure.training.rivals import Rivals

POI_FROM = 0.5
_SUPPORTS = 3
_LONGEST = 2000


def diagnose(
    denoiser: Denoiser,
    dataset: Dataset,
    folder: Path,
    listener: Listener,
    rivals: Rivals,
    told: list[torch.Tensor] | None = None,
) -> dict[str, float]:
    """Write diagnosis.parquet, supports.parquet and reliance.parquet (their columns: see docs/files.md) to ``folder``;
    return the mean share of each cause.

    ``poi_probability`` is the posterior that the modality was among the causes, ``evidence`` its log density ratio to
    the popularity (nats), by the item's own content: without what its other users say of it. Verdict ``poi`` from a
    probability of one half, else ``noise``; ``missing`` where the item does not have the modality: its probability is 0
    and its evidence 0. A history of more than 2,000 interactions is cut into equal parts of at most so many, each
    judged by itself. ``told`` as :func:`demure.training.belief_propagation.propagate_beliefs` returns it: what each choice told of
    its item, left out of what judges it.
    """
    train = dataset.histories("train")
    M = len(denoiser.names)
    N = len(train.items)
    owner = train.owners
    position = np.arange(N) - train.indptr[owner]
    probability = np.zeros((N, M), np.float32)
    evidence = np.zeros((N, M), np.float32)
    rival = np.zeros((N, denoiser.n_rivals), np.float32)
    support = np.full((N, M, _SUPPORTS), -1, np.int64)
    weight = np.zeros((N, M, _SUPPORTS), np.float32)
    parts = train.split_long(_LONGEST)
    todo, done = int((parts.lengths > 0).sum()), 0
    with torch.no_grad():
        for block in finished(denoiser, parts, told, rivals):
            at, found = block.at_BT, block.found
            valid = at >= 0
            rows = at[valid]
            probability[rows] = found.r_BTM.cpu().numpy()[valid]
            evidence[rows] = (
                denoiser.by_content(found, block.views, block.context).clamp(min=1e-12).log().cpu().numpy()[valid]
            )
            rival[rows] = found.rival_BTR.cpu().numpy()[valid]
            best, share = _supports(denoiser, found, block.context)
            support[rows] = np.where(share > 0, at[np.arange(len(at))[:, None, None, None], best], -1)[valid]
            weight[rows] = share[valid]
            done += len(at)
            listener(Progress("diagnose", done, todo))
    present = np.stack([channel.present_I.cpu().numpy()[train.items] > 0 for channel in denoiser.experts()], 1)
    probability = np.where(present, np.clip(probability, 0.0, 1.0), 0.0)
    evidence = np.where(present, evidence, 0.0)
    # What the content itself speaks against is no point of interest, whatever the user usually looks at.
    poi = (probability >= POI_FROM) & (evidence > 0)
    verdict = np.where(present, np.where(poi, "poi", "noise"), "missing")
    user_ids, item_ids = dataset.user_ids[owner], dataset.item_ids[train.items]
    names = np.array(denoiser.names, dtype=object)
    base = {
        "user_id": pa.array(np.repeat(user_ids, M), pa.string()),
        "item_id": pa.array(np.repeat(item_ids, M), pa.string()),
        "modality": pa.array(np.tile(names, N), pa.string()),
    }
    _write(
        folder / "diagnosis.parquet",
        base
        | {
            "poi_probability": probability.astype(np.float64).ravel(),
            "evidence": evidence.astype(np.float64).ravel(),
            "verdict": pa.array(verdict.ravel().tolist(), pa.string()),
            "position": np.repeat(position, M),
        },
    )
    kept = np.argwhere(support >= 0)
    _write(
        folder / "supports.parquet",
        {
            "user_id": pa.array(user_ids[kept[:, 0]], pa.string()),
            "item_id": pa.array(item_ids[kept[:, 0]], pa.string()),
            "position": position[kept[:, 0]],
            "modality": pa.array(names[kept[:, 1]], pa.string()),
            "support_rank": kept[:, 2] + 1,
            "support_item_id": pa.array(item_ids[support[tuple(kept.T)]], pa.string()),
            "weight": weight[tuple(kept.T)].astype(np.float64),
        },
    )
    none = rival.sum(1)
    _write(folder / "reliance.parquet", _reliance(dataset, denoiser, train, owner, probability, none))
    return shares(denoiser.names, probability, rival)


def shares(names: Sequence[str], probability_NM: np.ndarray, rival_NR: np.ndarray) -> dict[str, float]:
    """Mean share of the choices that every cause has, summing to 1; two modalities at once divide the choice, and what
    a modality that an item lacks might have caused is popularity's."""
    whole = np.maximum(1 - rival_NR.sum(1, keepdims=True, dtype=np.float64), 0.0)
    content = probability_NM / np.maximum(probability_NM.sum(1, keepdims=True), 1e-9) * whole
    found = {name: float(value) for name, value in zip(names, content.mean(0), strict=True)}
    found |= {name: float(value) for name, value in zip(RIVALS, rival_NR.mean(0, dtype=np.float64), strict=False)}
    found[RIVALS[0]] += 1 - sum(found.values())
    return found


def _supports(denoiser: Denoiser, found: Inferred, context: Context) -> tuple[np.ndarray, np.ndarray]:
    """Positions (B, T, M, 3) of the others that gave most of a channel's density, and their shares of it; share 0
    where there is none."""
    B, T = context.items_BT.shape
    best = np.zeros((B, T, len(denoiser.names), _SUPPORTS), np.int64)
    share = np.zeros(best.shape, np.float32)
    weights = denoiser.weights(found)
    for m, (channel, opened) in enumerate(zip(denoiser.experts(), found.opened, strict=True)):
        parts = channel.contributions(opened, context, weights[..., m])
        top = parts.topk(min(_SUPPORTS, T), dim=1)
        size = top.values.shape[1]
        best[:, :, m, :size] = top.indices.transpose(1, 2).cpu().numpy()
        share[:, :, m, :size] = top.values.transpose(1, 2).cpu().numpy()
    return best, share


def _reliance(
    dataset: Dataset,
    denoiser: Denoiser,
    train: Histories,
    owner: np.ndarray,
    probability: np.ndarray,
    none: np.ndarray,
) -> dict[str, object]:
    """Per user the expected share of choices by each modality and by none that is known; sums to 1."""
    M = len(denoiser.names)
    judged = np.flatnonzero(train.lengths > 0)
    sums = np.zeros((dataset.n_users, M + 1))
    explained = probability / np.maximum(probability.sum(1, keepdims=True), 1e-9)
    parts = np.concatenate([explained * (1 - none)[:, None], none[:, None]], axis=1)
    parts[:, M] += 1 - parts.sum(1)
    for m in range(M + 1):
        sums[:, m] = np.bincount(owner, weights=parts[:, m], minlength=dataset.n_users)
    shares = sums[judged] / train.lengths[judged, None]
    names = np.array([*denoiser.names, "none"], dtype=object)
    return {
        "user_id": pa.array(np.repeat(dataset.user_ids[judged], M + 1), pa.string()),
        "modality": pa.array(np.tile(names, len(judged)), pa.string()),
        "reliance": shares.ravel(),
    }


def _write(path: Path, columns: dict[str, object]) -> None:
    with atomic_file(path) as part:
        pq.write_table(pa.table(columns), part)
