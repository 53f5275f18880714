"""Channel ``id`` from its exported arrays, in NumPy alone: what a server needs, and what the export is checked by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from demure.model import item_item
from demure.model.item_item import Neighbours, Walk


def walk_arrays(channel: Neighbours) -> dict[str, np.ndarray]:
    """``id.steps`` (I, I) as CSR, rows a step of the walk; ``id.share`` (I,) the smoothed popularity; ``id.linear`` (I,
    I) the weights of the linear model, where the walk has a share of it."""
    steps = channel.steps()
    arrays = {
        "id.steps.indptr": steps.indptr.astype(np.int64),
        "id.steps.indices": steps.indices.astype(np.int32),
        "id.steps.data": steps.data.astype(np.float32),
        "id.share": channel.share_I.astype(np.float32),
    }
    if channel.walk.linear and channel.linear_II is not None:
        arrays["id.linear"] = np.asarray(channel.linear_II, np.float32)
    return arrays


def scores_of_walk(arrays: Mapping[str, np.ndarray], walk: Walk, items_BT: np.ndarray) -> np.ndarray:
    """log p_id(i | history) (B, I) of histories padded with -1 at the end, oldest first, as ``Neighbours.density``."""
    from scipy.sparse import csr_array

    share = arrays["id.share"].astype(np.float64)
    shape = (len(share), len(share))
    steps = csr_array((arrays["id.steps.data"], arrays["id.steps.indices"], arrays["id.steps.indptr"]), shape=shape)
    valid = items_BT >= 0
    age = np.maximum(valid.sum(1, keepdims=True) - np.arange(items_BT.shape[1]), 1.0)
    weight = valid * age**-walk.fading
    rows = np.nonzero(valid)[0]
    start = csr_array((weight[valid], (rows, items_BT[valid])), shape=(len(items_BT), len(share)))
    reached = (start @ steps).toarray()
    density, total = reached, np.ones((len(items_BT), 1))
    for step in range(1, item_item._STEPS if walk.further else 1):
        reached = reached @ steps
        density, total = density + walk.further**step * reached, total + walk.further**step
    total = weight.sum(1, keepdims=True) * total + item_item._BACK_OFF
    density = (density + (total - density.sum(1, keepdims=True)) * share) / total
    if "id.linear" in arrays:
        taken = csr_array((np.ones(len(rows), np.float32), (rows, items_BT[valid])), shape=start.shape)
        taken.data[:] = 1.0
        score = np.maximum(taken @ arrays["id.linear"], 0.0)
        mass = score.sum(1, keepdims=True)
        back_off = item_item._BACK_OFF * mass + 1e-6
        density = (1 - walk.linear) * density + walk.linear * (score + back_off * share) / (mass + back_off)
    found: np.ndarray = np.log(density)
    return found


def dense_walk(arrays: Mapping[str, np.ndarray], walk: Walk) -> Any:
    """Channel ``id`` as a torch module: histories (B, T) -> log p_id (B, I), all matrices dense, for ONNX."""
    import torch
    from scipy.sparse import csr_array
    from torch import Tensor, nn

    n_items = len(arrays["id.share"])
    steps = csr_array(
        (arrays["id.steps.data"], arrays["id.steps.indices"], arrays["id.steps.indptr"]), shape=(n_items, n_items)
    )

    class DenseWalk(nn.Module):
        steps_II: Tensor
        share_I: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("steps_II", torch.as_tensor(steps.toarray()))
            self.register_buffer("share_I", torch.as_tensor(arrays["id.share"]))
            linear = arrays.get("id.linear")
            self.linear_II = None if linear is None else nn.Parameter(torch.as_tensor(linear), requires_grad=False)

        def forward(self, history: Tensor) -> Tensor:
            valid = history >= 0
            place = torch.arange(history.shape[1])
            age = (valid.sum(1, keepdim=True) - place).clamp(min=1).float()
            weight = valid * age**-walk.fading
            items = history.clamp(min=0)
            zero = torch.zeros_like(weight[:, :1]) * self.share_I
            reached = zero.scatter_add(1, items, weight) @ self.steps_II
            density, total = reached, 1.0
            for step in range(1, item_item._STEPS if walk.further else 1):
                reached = reached @ self.steps_II
                density, total = density + walk.further**step * reached, total + walk.further**step
            mass = weight.sum(1, keepdim=True) * total + item_item._BACK_OFF
            density = (density + (mass - density.sum(1, keepdim=True)) * self.share_I) / mass
            if self.linear_II is not None:
                taken = zero.scatter_add(1, items, valid.float()).clamp(max=1.0)
                score = (taken @ self.linear_II).clamp(min=0)
                whole = score.sum(1, keepdim=True)
                back_off = item_item._BACK_OFF * whole + 1e-6
                density = (1 - walk.linear) * density + walk.linear * (score + back_off * self.share_I) / (
                    whole + back_off
                )
            return density.log()

    return DenseWalk()
