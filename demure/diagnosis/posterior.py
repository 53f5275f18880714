"""The posterior of whole histories under a denoiser, and the tables of a diagnosis that follow from it.

Shape suffixes: N interactions, M modalities, R rivals, S supports, B users of a batch, T positions, U users.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import torch

from demure.diagnosis.verdict import assign_verdicts
from demure.model.batch import HistoryBatch, SideInformationSource
from demure.model.blocks import InferredBlock, infer_blocks
from demure.model.denoiser import Denoiser, Inference
from demure.progress import Listener, Progress
from demure.runs.folder import DIAGNOSIS, RELIANCE, SUPPORTS

if TYPE_CHECKING:
    from demure.data.histories import Histories

LONGEST = 2000
"""Longer histories are split into equal parts, each diagnosed by itself."""
_SUPPORTS = 3


@dataclass(frozen=True)
class Posterior:
    """What the denoiser infers of all interactions of some histories.

    ``probability_NM`` that the modality was among the causes, ``evidence_NM`` nats, ``rival_r_NR`` probability of each
    rival; ``support_NMS`` indices of the interactions that gave most of a modality's density, -1 where there are fewer,
    ``weight_NMS`` their shares of it. ``interest_NM`` int16: the most probable cluster of each modality, -1 where
    missing.
    """

    probability_NM: np.ndarray
    evidence_NM: np.ndarray
    rival_r_NR: np.ndarray
    support_NMS: np.ndarray
    weight_NMS: np.ndarray
    interest_NM: np.ndarray


@torch.no_grad()
def infer_posterior(
    denoiser: Denoiser,
    histories: Histories,
    source: SideInformationSource,
    messages: list[torch.Tensor] | None,
    listener: Listener,
    longest: int = LONGEST,
) -> Posterior:
    """Return the posterior of every interaction of ``histories``, leave-one-out over its user's other interactions.

    ``source``: periods and rival ratios of the interactions; ``messages`` of belief propagation that the users of the
    histories sent, None if they sent none.
    """
    N, M = len(histories.items), len(denoiser.modalities)
    probability_NM, evidence_NM = np.zeros((N, M), np.float32), np.zeros((N, M), np.float32)
    rival_r_NR = np.zeros((N, denoiser.n_rivals), np.float32)
    support_NMS, weight_NMS = np.full((N, M, _SUPPORTS), -1, np.int64), np.zeros((N, M, _SUPPORTS), np.float32)
    interest_NM = np.full((N, M), -1, np.int16)
    parts = histories.split_long(longest)
    total, done = int((parts.lengths > 0).sum()), 0
    for block in infer_blocks(denoiser, parts, messages, source):
        interactions_BT, inferred = block.interactions_BT, block.inferred
        valid_BT = interactions_BT >= 0
        rows = interactions_BT[valid_BT]
        probability_NM[rows] = inferred.r_BTM.cpu().numpy()[valid_BT]
        evidence_NM[rows] = content_evidence(denoiser, block)[valid_BT]
        rival_r_NR[rows] = inferred.rival_r_BTR.cpu().numpy()[valid_BT]
        best_BTMS, share_BTMS = _supports(denoiser, inferred, block.batch)
        user_B111 = np.arange(len(interactions_BT))[:, None, None, None]
        support_NMS[rows] = np.where(share_BTMS > 0, interactions_BT[user_B111, best_BTMS], -1)[valid_BT]
        weight_NMS[rows] = share_BTMS[valid_BT]
        interest_NM[rows] = likeliest_clusters(inferred)[valid_BT]
        done += len(interactions_BT)
        listener(Progress("diagnose", done, total))
    present_NM = _present(denoiser, histories)
    return Posterior(
        np.where(present_NM, np.clip(probability_NM, 0.0, 1.0), 0.0),
        np.where(present_NM, evidence_NM, 0.0),
        rival_r_NR,
        support_NMS,
        weight_NMS,
        np.where(present_NM, interest_NM, -1).astype(np.int16),
    )


def content_evidence(denoiser: Denoiser, block: InferredBlock) -> np.ndarray:
    """Return the evidence (B, T, M), nats, by the items' own content, without the messages of their other users."""
    ratio_BTM = denoiser.content_only_ratio(block.inferred, block.views, block.batch)
    evidence_BTM: np.ndarray = ratio_BTM.clamp(min=1e-12).log().cpu().numpy()
    return evidence_BTM


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


def likeliest_clusters(inferred: Inference) -> np.ndarray:
    """Return the most probable cluster of each position in each modality (B, T, M)."""
    clusters = [state.clusters.posterior_BTC.argmax(-1) for state in inferred.states]
    return torch.stack(clusters, -1).cpu().numpy().astype(np.int16)


def _present(denoiser: Denoiser, histories: Histories) -> np.ndarray:
    """Return whether the item of each interaction has the modality, (N, M)."""
    return np.stack([expert.present_I.cpu().numpy()[histories.items] > 0 for expert in denoiser.experts()], 1)


_Columns = dict[str, "np.ndarray | pa.Array"]


def tables(
    denoiser: Denoiser, histories: Histories, posterior: Posterior, user_ids: np.ndarray, item_ids: np.ndarray
) -> Iterator[tuple[str, pa.Table]]:
    """Yield diagnosis.parquet, supports.parquet and reliance.parquet with their names (columns: docs/files.md).

    ``user_ids`` (U,) of the histories, ``item_ids`` (I,) of the items.
    """
    chosen = _Chosen(denoiser.modalities, histories, _present(denoiser, histories), user_ids, item_ids)
    yield DIAGNOSIS, pa.table(_diagnosis_columns(chosen, posterior))
    yield SUPPORTS, pa.table(_support_columns(chosen, posterior))
    yield RELIANCE, pa.table(_reliance_columns(chosen, posterior))


@dataclass(frozen=True)
class _Chosen:
    """The diagnosed interactions: ``present_NM``: whether the item has the modality; ids (U,) and (I,)."""

    modalities: list[str]
    histories: Histories
    present_NM: np.ndarray
    user_ids: np.ndarray
    item_ids: np.ndarray

    def position_N(self) -> np.ndarray:
        """Return the position of each interaction in its user's history, from 0."""
        position_N: np.ndarray = np.arange(len(self.histories.items)) - self.histories.indptr[self.histories.owners]
        return position_N


def _diagnosis_columns(chosen: _Chosen, posterior: Posterior) -> _Columns:
    N, M = posterior.probability_NM.shape
    verdict_NM = assign_verdicts(posterior.probability_NM, posterior.evidence_NM, chosen.present_NM)
    return {
        "user_id": pa.array(np.repeat(chosen.user_ids[chosen.histories.owners], M), pa.string()),
        "item_id": pa.array(np.repeat(chosen.item_ids[chosen.histories.items], M), pa.string()),
        "modality": pa.array(np.tile(np.array(chosen.modalities, dtype=object), N), pa.string()),
        "poi_probability": posterior.probability_NM.astype(np.float64).ravel(),
        "evidence": posterior.evidence_NM.astype(np.float64).ravel(),
        "verdict": pa.array(verdict_NM.ravel().tolist(), pa.string()),
        "position": np.repeat(chosen.position_N(), M),
        "interest": posterior.interest_NM.ravel(),
    }


def _support_columns(chosen: _Chosen, posterior: Posterior) -> _Columns:
    entries = np.argwhere(posterior.support_NMS >= 0)
    interaction, modality, rank = entries.T
    supporting = posterior.support_NMS[interaction, modality, rank]
    chosen_ids = chosen.item_ids[chosen.histories.items]
    return {
        "user_id": pa.array(chosen.user_ids[chosen.histories.owners[interaction]], pa.string()),
        "item_id": pa.array(chosen_ids[interaction], pa.string()),
        "position": chosen.position_N()[interaction],
        "modality": pa.array(np.array(chosen.modalities, dtype=object)[modality], pa.string()),
        "support_rank": rank + 1,
        "support_item_id": pa.array(chosen_ids[supporting], pa.string()),
        "weight": posterior.weight_NMS[interaction, modality, rank].astype(np.float64),
    }


def _reliance_columns(chosen: _Chosen, posterior: Posterior) -> _Columns:
    """Return the expected share of each user's choices by each modality and by ``none`` of them; sums to 1."""
    M = posterior.probability_NM.shape[1]
    users = np.flatnonzero(chosen.histories.lengths > 0)
    none_N = posterior.rival_r_NR.sum(1)
    explained_NM = posterior.probability_NM / np.maximum(posterior.probability_NM.sum(1, keepdims=True), 1e-9)
    parts = np.concatenate([explained_NM * (1 - none_N)[:, None], none_N[:, None]], axis=1)
    parts[:, M] += 1 - parts.sum(1)
    sums = np.zeros((len(chosen.user_ids), M + 1))
    for m in range(M + 1):
        sums[:, m] = np.bincount(chosen.histories.owners, weights=parts[:, m], minlength=len(chosen.user_ids))
    names = np.array([*chosen.modalities, "none"], dtype=object)
    return {
        "user_id": pa.array(np.repeat(chosen.user_ids[users], M + 1), pa.string()),
        "modality": pa.array(np.tile(names, len(users)), pa.string()),
        "reliance": (sums[users] / chosen.histories.lengths[users, None]).ravel(),
    }
