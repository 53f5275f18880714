"""The trackers by name; a package that is missing or broken is reported before the training."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence

from demure.errors import DemureError, MachineError
from demure.suggest import did_you_mean
from demure.tracking.protocol import Tracker

TRACKERS = {
    "tensorboard": "demure.tracking.tensorboard:TensorBoard",
    "wandb": "demure.tracking.wandb:WeightsAndBiases",
    "mlflow": "demure.tracking.mlflow:MLflow",
    "trackio": "demure.tracking.trackio:Trackio",
}
"""Name of the package, which is that of demure's extra as well -> module and class of its tracker."""


def open_trackers(names: Sequence[str]) -> dict[str, Tracker]:
    """Return the trackers ``names``, each once.

    Raises ``DemureError`` for an unknown name, ``MachineError`` where the package is missing or broken.
    """
    trackers: dict[str, Tracker] = {}
    for name in dict.fromkeys(names):
        if name not in TRACKERS:
            remedy = did_you_mean(name, TRACKERS) or f"use one of {', '.join(TRACKERS)}"
            raise DemureError(f"unknown tracker {name!r}", where="--track", remedy=remedy)
        where, remedy = f"--track {name}", f"pip install 'demure[{name}]', or leave it out"
        if importlib.util.find_spec(name) is None:
            raise MachineError(f"the package {name} is not installed", where=where, remedy=remedy)
        module, _, kind = TRACKERS[name].partition(":")
        try:
            trackers[name] = getattr(importlib.import_module(module), kind)()
        except Exception as error:  # whatever a foreign package raises when it is imported
            raise MachineError(f"the package {name} cannot be used ({error})", where=where, remedy=remedy) from error
    return trackers
