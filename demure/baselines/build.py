"""Build baselines with weights from a dataset: the task they learn, and the model with its initial weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from demure.baselines.learned import Learned, LearnedOptions, Task
from demure.baselines.registry import make_learned, uses_content
from demure.features import store
from demure.features.constant import leave_out_constant
from demure.features.normalize import robust_scale
from demure.features.select import default_modalities

if TYPE_CHECKING:
    from demure.data.dataset import Dataset


def build_task(data: Dataset, model: str, modalities: tuple[str, ...]) -> Task:
    """Return the training histories, and where ``model`` uses content the features of ``modalities``.

    Without ``modalities``, the default ones (``default_modalities``). Features that are alike for all items are left
    out (``leave_out_constant``).
    """
    names: list[str] = []
    if uses_content(model):
        if modalities:
            names = [name for name in store.names(data.path) if name in modalities]
        else:
            names = default_modalities(data.path)[0]
        names = leave_out_constant(data.path, names)
    content = {name: robust_scale(store.load(data.path, name)) for name in names}
    return Task(data.histories("train"), data.n_items, content)


def build_learned(model: str, options: LearnedOptions, task: Task, seed: int, device: torch.device) -> Learned:
    """Return the model with the initial weights of ``seed``."""
    torch.manual_seed(seed)
    return make_learned(model, options, task).to(device)
