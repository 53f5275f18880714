"""The watchers by name; a package that is missing or broken is told of before anything is trained."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from collections.abc import Sequence

from demure.errors import DemureError, MachineError
from demure.tracking.protocol import Tracker

TRACKERS = {
    "tensorboard": "demure.tracking.tensorboard:TensorBoard",
    "wandb": "demure.tracking.wandb:WeightsAndBiases",
    "mlflow": "demure.tracking.mlflow:MLflow",
    "trackio": "demure.tracking.trackio:Trackio",
}
"""Name, of the package and of demure's extra as well -> where its watcher is."""


def open_trackers(names: Sequence[str]) -> dict[str, Tracker]:
    """The watchers ``names``, each once. Raises ``DemureError`` for one that there is not, ``MachineError`` where its
    package is missing or broken."""
    watchers: dict[str, Tracker] = {}
    for name in dict.fromkeys(names):
        if name not in TRACKERS:
            close = difflib.get_close_matches(name, TRACKERS, n=1)
            remedy = f"did you mean {close[0]}?" if close else f"one of {', '.join(TRACKERS)}"
            raise DemureError(f"there is no watcher {name!r}", where="--watch", remedy=remedy)
        remedy = f"pip install 'demure[{name}]', or leave it out"
        if importlib.util.find_spec(name) is None:
            raise MachineError(f"the package {name} is not installed", where=f"--watch {name}", remedy=remedy)
        module, _, kind = TRACKERS[name].partition(":")
        try:
            watchers[name] = getattr(importlib.import_module(module), kind)()
        except Exception as error:  # whatever a foreign package raises when it is imported
            raise MachineError(
                f"the package {name} cannot be used ({error})", where=f"--watch {name}", remedy=remedy
            ) from error
    return watchers
