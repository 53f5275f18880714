"""The item-item model (channel ``id``) as exported arrays, and its scores from them in NumPy alone.

A server needs :func:`score_item_item`; the export is checked with it too. The density itself is
``demure.model.item_item_density``; the torch module for ONNX is in ``demure.serving.onnx``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

from demure.model.item_item_density import ItemItemParameters, item_item_density, recency_weights

if TYPE_CHECKING:
    from demure.model.item_item import ItemItemModel

Arrays = Mapping[str, np.ndarray]


def item_item_arrays(model: ItemItemModel) -> dict[str, np.ndarray]:
    """Return the model as arrays.

    ``id.steps`` (I, I) as CSR: row j is one step of the walk from j. ``id.share`` (I,): the smoothed popularity.
    ``id.linear`` (I, I): the weights of the linear model, where it has a share of the density.
    """
    arrays = {**sparse_arrays("id.steps", model.steps()), "id.share": model.share_I.astype(np.float32)}
    if model.parameters.linear and model.linear is not None:
        arrays["id.linear"] = np.asarray(model.linear.matrix, np.float32)
    return arrays


def sparse_arrays(name: str, matrix: csr_array) -> dict[str, np.ndarray]:
    """Return a CSR matrix as three arrays."""
    return {
        f"{name}.indptr": matrix.indptr.astype(np.int64),
        f"{name}.indices": matrix.indices.astype(np.int32),
        f"{name}.data": matrix.data.astype(np.float32),
    }


def sparse_matrix(name: str, arrays: Arrays, n_items: int) -> csr_array:
    """Return the CSR matrix (I, I) of :func:`sparse_arrays`."""
    parts = (arrays[f"{name}.data"], arrays[f"{name}.indices"], arrays[f"{name}.indptr"])
    return csr_array(parts, shape=(n_items, n_items))


def score_item_item(arrays: Arrays, parameters: ItemItemParameters, items_BT: np.ndarray) -> np.ndarray:
    """Return log p_id(i | history) (B, I) of histories padded with -1 at the end, oldest first."""
    share_I = arrays["id.share"].astype(np.float64)
    steps_II = sparse_matrix("id.steps", arrays, len(share_I))
    weight_BT = recency_weights(items_BT, parameters.fading)
    valid_BT = items_BT >= 0
    start = (weight_BT[valid_BT], (np.nonzero(valid_BT)[0], items_BT[valid_BT]))
    reached_BI = (csr_array(start, shape=(len(items_BT), len(share_I))) @ steps_II).toarray()
    score_BI = linear_scores(items_BT, arrays["id.linear"]) if "id.linear" in arrays else None
    density_BI = item_item_density(
        reached_BI, lambda mass_BI: mass_BI @ steps_II, weight_BT, share_I, parameters, score_BI
    )
    log_density_BI: np.ndarray = np.log(density_BI)
    return log_density_BI


def linear_scores(items_BT: np.ndarray, linear_II: np.ndarray) -> np.ndarray:
    """Return the linear model's scores (B, I), negative ones as 0; an item counts once, as in its fit."""
    row, column = np.nonzero(items_BT >= 0)
    entries = (np.ones(len(row), np.float32), (row, items_BT[row, column]))
    history_BI = csr_array(entries, (len(items_BT), len(linear_II)))
    history_BI.data[:] = 1.0
    score_BI: np.ndarray = np.maximum(history_BI @ linear_II, 0.0)
    return score_BI
