"""The features of the items in a learned baseline: which items have a modality, and a linear map of each modality.

Shape suffixes: I items, N rows, F columns of the features, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from demure.errors import DemureError

if TYPE_CHECKING:
    from demure.baselines.learned import Task


def items_with(features: np.ndarray) -> np.ndarray:
    """Return which items have the modality of ``features`` (I, F): bool (I,). The features of the others are zero."""
    return np.asarray(features.any(axis=1))


class ItemContent(nn.Module):
    """A baseline that holds the features of the items, which are the same throughout, and maps them.

    ``names`` of the modalities, in their order.
    """

    names: list[str]
    project: nn.ModuleDict

    def add_content(
        self,
        content: Mapping[str, np.ndarray],
        dim: int,
        *,
        bias: bool = True,
        initialise: Callable[[Tensor], object] | None = None,
    ) -> None:
        """Add the features (I, F) of each modality and their linear map to ``dim`` dimensions.

        ``initialise`` fills the weights (D, F) of each map, after all are made.
        """
        self.names = list(content)
        self.project = nn.ModuleDict({name: nn.Linear(f.shape[1], dim, bias=bias) for name, f in content.items()})
        for name, features in content.items():
            if initialise is not None:
                initialise(self.project[name].get_parameter("weight"))
            # Not in the file of the run: the dataset has them.
            self.register_buffer(f"content_{name}", torch.as_tensor(features), persistent=False)
            self.register_buffer(f"has_{name}", torch.as_tensor(items_with(features)), persistent=False)

    def has(self, name: str) -> Tensor:
        """Return which items have the modality: bool (I,)."""
        return self.get_buffer(f"has_{name}")

    def projected(self, name: str, rows: Tensor | None = None) -> Tensor:
        """Return the mapped features of the items ``rows`` (N, D), or of all (I, D)."""
        features = self.get_buffer(f"content_{name}")
        projected: Tensor = self.project[name](features if rows is None else features[rows])
        return projected


def required_content(task: Task, model: str) -> dict[str, np.ndarray]:
    """Return the features of the task. Raises ``DemureError`` if there are none."""
    if not task.content:
        raise DemureError("needs features of the items", where=model, remedy="run `demure extract` on the dataset")
    return dict(task.content)
