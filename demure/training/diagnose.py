"""The diagnosis of a finished training: a probability, an evidence and a verdict per training interaction and modality.

Leave-one-out over the whole training history of each user: the posterior of an interaction rests on all the others.

Shape suffixes: N training interactions, M modalities, R rivals.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import torch

from demure.diagnosis.posterior import LONGEST, infer_posterior, tables
from demure.files import atomic_file
from demure.model.denoiser import RIVALS, Denoiser
from demure.progress import Listener

if TYPE_CHECKING:
    from demure.data.dataset import Dataset
    from demure.training.rivals import Rivals


def diagnose(
    denoiser: Denoiser,
    dataset: Dataset,
    folder: Path,
    listener: Listener,
    rivals: Rivals,
    messages: list[torch.Tensor] | None = None,
    longest: int = LONGEST,
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
    posterior = infer_posterior(denoiser, train, rivals, messages, listener, longest)
    for name, table in tables(denoiser, train, posterior, dataset.user_ids, dataset.item_ids):
        with atomic_file(folder / name) as part:
            pq.write_table(table, part)
    return mean_shares(denoiser.modalities, posterior.probability_NM, posterior.rival_r_NR)


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
