"""How the weights of training interactions count where a user is scored, for whose next interaction there is none.

Shape suffixes: U users, N training interactions, H interactions of other histories, V modalities.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from demure.data.histories import Histories

_SMOOTHING = 5.0  # interactions with the mean weight of all users that are added to those of each user


def mean_weights(train: Histories, weights_NV: np.ndarray, has_NV: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean weight of each user's interactions (U, V) and that of all (V,), float32.

    Interactions whose item lacks the modality (``has_NV`` is False) do not count. A user's mean is smoothed:
    ``_SMOOTHING`` more interactions have the mean of all.
    """
    owners, n_users = train.owners, len(train.indptr) - 1
    total_NV = np.where(has_NV, weights_NV, 0)
    count_V = has_NV.sum(axis=0)
    mean_V = np.where(count_V > 0, total_NV.sum(axis=0, dtype=np.float64) / np.maximum(count_V, 1), 1.0)
    columns = [
        (np.bincount(owners, total, n_users) + _SMOOTHING * mean) / (np.bincount(owners, has, n_users) + _SMOOTHING)
        for total, has, mean in zip(total_NV.T, has_NV.T, mean_V, strict=True)
    ]
    return np.stack(columns, axis=1).astype(np.float32), mean_V.astype(np.float32)


def history_weights(
    histories: Histories, train: Histories, weights_NV: np.ndarray, has_NV: np.ndarray, n_items: int
) -> np.ndarray:
    """Return the weights of the interactions of ``histories`` (H, V) float32.

    Users whose history contains all of their training interactions are those users of the training, with the weights
    of these and elsewhere their mean; others are new, with the mean of all.
    """
    means_UV, mean_V = mean_weights(train, weights_NV, has_NV)
    n_users, owners = len(train.lengths), histories.owners
    keys, train_keys = owners * n_items + histories.items, train.owners * n_items + train.items
    contained_U = np.bincount(train.owners, np.isin(train_keys, keys), n_users) == train.lengths
    contained_U &= train.lengths > 0
    is_trained_H = np.zeros(len(owners), bool)
    within = owners < n_users
    is_trained_H[within] = contained_U[owners[within]]
    weights_HV = np.tile(mean_V, (len(owners), 1))
    weights_HV[is_trained_H] = means_UV[owners[is_trained_H]]
    if len(train_keys):
        order = np.argsort(train_keys, kind="stable")
        last = order[np.maximum(np.searchsorted(train_keys[order], keys, side="right") - 1, 0)]
        own = is_trained_H & (train_keys[last] == keys)
        weights_HV[own] = weights_NV[last[own]]
    return weights_HV
