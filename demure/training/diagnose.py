"""The diagnosis of a finished training: a probability, an evidence and a verdict per training interaction and modality.

Leave-one-out over the whole training history of each user: the posterior of an interaction rests on all the others.

Shape suffixes: N training interactions, M modalities, R rivals, S supports, B users of a batch, T positions, U users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from demure.diagnosis.verdict import assign_verdicts
from demure.files import atomic_file
from demure.model.batch import HistoryBatch
from demure.model.denoiser import RIVALS, Denoiser, Inference
from demure.progress import Listener, Progress
from demure.training.belief_propagation import infer_blocks

if TYPE_CHECKING:
    from demure.data.dataset import Dataset
    from demure.data.histories import Histories
    from demure.training.rivals import Rivals

_SUPPORTS = 3
_LONGEST = 2000


@dataclass(frozen=True)
class _Posterior:
    """What the denoiser infers of all training interactions.

    ``probability_NM`` that the modality was among the causes, ``evidence_NM`` nats, ``rival_r_NR`` probability of each
    rival; ``support_NMS`` indices of the interactions that gave most of a modality's density, -1 where there are fewer,
    ``weight_NMS`` their shares of it.
    """

    probability_NM: np.ndarray
    evidence_NM: np.ndarray
    rival_r_NR: np.ndarray
    support_NMS: np.ndarray
    weight_NMS: np.ndarray


def diagnose(
    denoiser: Denoiser,
    dataset: Dataset,
    folder: Path,
    listener: Listener,
    rivals: Rivals,
    messages: list[torch.Tensor] | None = None,
    longest: int = _LONGEST,
) -> dict[str, float]:
    """Write diagnosis.parquet, supports.parquet and reliance.parquet (their columns: see docs/files.md) to ``folder``;
    return the mean share of each cause.

    ``poi_probability`` is the posterior that the modality was among the causes, ``evidence`` its log density ratio to
    the popularity (nats) by the item's own content, without the messages of its other users. The verdict is ``poi``
    from a probability of one half and a positive evidence, else ``noise``; ``missing`` where the item does not have the
    modality: then probability and evidence are 0. A history of more than ``longest`` interactions is split into equal
    parts, each diagnosed by itself. ``messages`` of belief propagation, as
    :func:`demure.training.belief_propagation.propagate_beliefs` returns them.
    """
    train = dataset.histories("train")
    posterior = _infer(denoiser, train, rivals, messages, longest, listener)
    _write(folder / "diagnosis.parquet", _diagnosis_columns(dataset, denoiser, train, posterior))
    _write(folder / "supports.parquet", _support_columns(dataset, denoiser, train, posterior))
    _write(folder / "reliance.parquet", _reliance_columns(dataset, denoiser, train, posterior))
    return mean_shares(denoiser.modalities, posterior.probability_NM, posterior.rival_r_NR)


@torch.no_grad()
def _infer(
    denoiser: Denoiser,
    train: Histories,
    rivals: Rivals,
    messages: list[torch.Tensor] | None,
    longest: int,
    listener: Listener,
) -> _Posterior:
    N, M = len(train.items), len(denoiser.modalities)
    probability_NM, evidence_NM = np.zeros((N, M), np.float32), np.zeros((N, M), np.float32)
    rival_r_NR = np.zeros((N, denoiser.n_rivals), np.float32)
    support_NMS, weight_NMS = np.full((N, M, _SUPPORTS), -1, np.int64), np.zeros((N, M, _SUPPORTS), np.float32)
    parts = train.split_long(longest)
    total, done = int((parts.lengths > 0).sum()), 0
    for block in infer_blocks(denoiser, parts, messages, rivals):
        interactions_BT, inferred = block.interactions_BT, block.inferred
        valid_BT = interactions_BT >= 0
        rows = interactions_BT[valid_BT]
        probability_NM[rows] = inferred.r_BTM.cpu().numpy()[valid_BT]
        ratio_BTM = denoiser.content_only_ratio(inferred, block.views, block.batch)
        evidence_NM[rows] = ratio_BTM.clamp(min=1e-12).log().cpu().numpy()[valid_BT]
        rival_r_NR[rows] = inferred.rival_r_BTR.cpu().numpy()[valid_BT]
        best_BTMS, share_BTMS = _supports(denoiser, inferred, block.batch)
        user_B111 = np.arange(len(interactions_BT))[:, None, None, None]
        support_NMS[rows] = np.where(share_BTMS > 0, interactions_BT[user_B111, best_BTMS], -1)[valid_BT]
        weight_NMS[rows] = share_BTMS[valid_BT]
        done += len(interactions_BT)
        listener(Progress("diagnose", done, total))
    present_NM = _present(denoiser, train)
    return _Posterior(
        np.where(present_NM, np.clip(probability_NM, 0.0, 1.0), 0.0),
        np.where(present_NM, evidence_NM, 0.0),
        rival_r_NR,
        support_NMS,
        weight_NMS,
    )


def _supports(denoiser: Denoiser, inferred: Inference, batch: HistoryBatch) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions (B, T, M, S) in the history that gave most of a modality's density, and their shares.

    The share is 0 where there are fewer.
    """
    B, T = batch.items_BT.shape
    best_BTMS = np.zeros((B, T, len(denoiser.modalities), _SUPPORTS), np.int64)
    share_BTMS = np.zeros(best_BTMS.shape, np.float32)
    weights_BTM = denoiser.source_weights(inferred)
    for m, (expert, state) in enumerate(zip(denoiser.experts(), inferred.states, strict=True)):
        top = expert.contributions(state, batch, weights_BTM[..., m]).topk(min(_SUPPORTS, T), dim=1)
        size = top.values.shape[1]
        best_BTMS[:, :, m, :size] = top.indices.transpose(1, 2).cpu().numpy()
        share_BTMS[:, :, m, :size] = top.values.transpose(1, 2).cpu().numpy()
    return best_BTMS, share_BTMS


def _present(denoiser: Denoiser, train: Histories) -> np.ndarray:
    """Return whether the item of each interaction has the modality, (N, M)."""
    return np.stack([expert.present_I.cpu().numpy()[train.items] > 0 for expert in denoiser.experts()], 1)


def _diagnosis_columns(dataset: Dataset, denoiser: Denoiser, train: Histories, posterior: _Posterior) -> _Columns:
    N, M = posterior.probability_NM.shape
    verdict_NM = assign_verdicts(posterior.probability_NM, posterior.evidence_NM, _present(denoiser, train))
    return {
        "user_id": pa.array(np.repeat(dataset.user_ids[train.owners], M), pa.string()),
        "item_id": pa.array(np.repeat(dataset.item_ids[train.items], M), pa.string()),
        "modality": pa.array(np.tile(np.array(denoiser.modalities, dtype=object), N), pa.string()),
        "poi_probability": posterior.probability_NM.astype(np.float64).ravel(),
        "evidence": posterior.evidence_NM.astype(np.float64).ravel(),
        "verdict": pa.array(verdict_NM.ravel().tolist(), pa.string()),
        "position": np.repeat(_position_in_history(train), M),
    }


def _support_columns(dataset: Dataset, denoiser: Denoiser, train: Histories, posterior: _Posterior) -> _Columns:
    entries = np.argwhere(posterior.support_NMS >= 0)
    interaction, modality, rank = entries.T
    supporting = posterior.support_NMS[interaction, modality, rank]
    item_ids = dataset.item_ids[train.items]
    return {
        "user_id": pa.array(dataset.user_ids[train.owners[interaction]], pa.string()),
        "item_id": pa.array(item_ids[interaction], pa.string()),
        "position": _position_in_history(train)[interaction],
        "modality": pa.array(np.array(denoiser.modalities, dtype=object)[modality], pa.string()),
        "support_rank": rank + 1,
        "support_item_id": pa.array(item_ids[supporting], pa.string()),
        "weight": posterior.weight_NMS[interaction, modality, rank].astype(np.float64),
    }


def _reliance_columns(dataset: Dataset, denoiser: Denoiser, train: Histories, posterior: _Posterior) -> _Columns:
    """Return the expected share of each user's choices by each modality and by ``none`` of them; sums to 1."""
    M = posterior.probability_NM.shape[1]
    users = np.flatnonzero(train.lengths > 0)
    none_N = posterior.rival_r_NR.sum(1)
    explained_NM = posterior.probability_NM / np.maximum(posterior.probability_NM.sum(1, keepdims=True), 1e-9)
    parts = np.concatenate([explained_NM * (1 - none_N)[:, None], none_N[:, None]], axis=1)
    parts[:, M] += 1 - parts.sum(1)
    sums = np.zeros((dataset.n_users, M + 1))
    for m in range(M + 1):
        sums[:, m] = np.bincount(train.owners, weights=parts[:, m], minlength=dataset.n_users)
    names = np.array([*denoiser.modalities, "none"], dtype=object)
    return {
        "user_id": pa.array(np.repeat(dataset.user_ids[users], M + 1), pa.string()),
        "modality": pa.array(np.tile(names, len(users)), pa.string()),
        "reliance": (sums[users] / train.lengths[users, None]).ravel(),
    }


def _position_in_history(train: Histories) -> np.ndarray:
    """Return the position of each interaction in its user's history (N,), from 0."""
    position_N: np.ndarray = np.arange(len(train.items)) - train.indptr[train.owners]
    return position_N


def mean_shares(names: Sequence[str], probability_NM: np.ndarray, rival_r_NR: np.ndarray) -> dict[str, float]:
    """Return the mean share of the choices that each cause has, summing to 1.

    Two modalities at once divide a choice between them. The share that a modality would have where the item lacks it
    goes to popularity.
    """
    content_N1 = np.maximum(1 - rival_r_NR.sum(1, keepdims=True, dtype=np.float64), 0.0)
    content_NM = probability_NM / np.maximum(probability_NM.sum(1, keepdims=True), 1e-9) * content_N1
    shares = {name: float(value) for name, value in zip(names, content_NM.mean(0), strict=True)}
    shares |= {name: float(value) for name, value in zip(RIVALS, rival_r_NR.mean(0, dtype=np.float64), strict=False)}
    shares[RIVALS[0]] += 1 - sum(shares.values())
    return shares


_Columns = dict[str, "np.ndarray | pa.Array"]


def _write(path: Path, columns: _Columns) -> None:
    with atomic_file(path) as part:
        pq.write_table(pa.table(columns), part)
