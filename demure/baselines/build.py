"""Baselines with weights, built from a dataset: the task they learn, and the model with its first weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from demure.baselines.learned import Learned, LearnedOptions, Task
from demure.baselines.registry import WITH_CONTENT, make_learned
from demure.features import store
from demure.features.normalize import robust
from demure.features.select import by_default

if TYPE_CHECKING:
    from demure.data.dataset import Dataset


def build_task(data: Dataset, model: str, modalities: tuple[str, ...]) -> Task:
    """The training histories, and the features where ``model`` can use them: ``modalities``, or those by default."""
    names: list[str] = []
    if model in WITH_CONTENT:
        names = [n for n in store.names(data.path) if n in modalities] if modalities else by_default(data.path)[0]
    content = {name: robust(store.load(data.path, name)) for name in names}
    return Task(data.histories("train"), data.n_items, content)


def build_learned(model: str, options: LearnedOptions, task: Task, seed: int, device: torch.device) -> Learned:
    """The model with the first weights of ``seed``."""
    torch.manual_seed(seed)
    return make_learned(model, options, task).to(device)
