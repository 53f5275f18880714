"""demure: which modality of an item was the point of interest of an interaction, and which was noise.

``Dataset`` and ``Run`` open the folders that the commands write; ``prepare``, ``extract``, ``train`` and ``compare``
are the commands as functions; ``WeightedChoices`` is a PyTorch dataset of verdicts. Nothing is imported before it is
asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from demure.api.dataset import Dataset as Dataset
    from demure.api.run import Run as Run
    from demure.api.steps import compare as compare
    from demure.api.steps import extract as extract
    from demure.api.steps import prepare as prepare
    from demure.api.steps import train as train
    from demure.errors import DemureError as DemureError
    from demure.serving.weighted_choices import WeightedChoices as WeightedChoices

__version__ = "0.1.0"

_HOMES = {
    "Dataset": "demure.api.dataset",
    "Run": "demure.api.run",
    "compare": "demure.api.steps",
    "extract": "demure.api.steps",
    "prepare": "demure.api.steps",
    "train": "demure.api.steps",
    "DemureError": "demure.errors",
    "WeightedChoices": "demure.serving.weighted_choices",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'demure' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
