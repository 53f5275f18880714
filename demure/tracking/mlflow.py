"""MLflow: experiment `demure` at MLFLOW_TRACKING_URI, or in a file mlflow.db beside the run folder, for
`mlflow ui --backend-store-uri sqlite:///mlflow.db`."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping

import sqlalchemy  # noqa: F401  what the database needs, so that its absence is told of before the training
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from demure.tracking.protocol import RunInfo

_PARAMS_AT_ONCE = 100


class MLflow:
    """Metrics per epoch, the recipe as parameters; a resumed training goes on in the same run."""

    def begin(self, about: RunInfo) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        file = about.run.absolute().parent / "mlflow.db"
        self.client = MlflowClient(tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{file}")
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "demure")
        experiment = self.client.get_experiment_by_name(name)
        where = self.client.create_experiment(name) if experiment is None else experiment.experiment_id
        self.id = about.remembered("mlflow") or ""
        if not self.id:
            self.id = self.client.create_run(where, run_name=about.name).info.run_id
            about.remember("mlflow", self.id)
            told = [Param(_name(key), str(value)) for key, value in {**about.facts, **about.recipe}.items()]
            for at in range(0, len(told), _PARAMS_AT_ONCE):
                self.client.log_batch(self.id, params=told[at : at + _PARAMS_AT_ONCE])

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        self._log(values, number)

    def end(self, values: Mapping[str, float], *, finished: bool) -> None:
        self._log({f"best/{name}": value for name, value in values.items()}, 0)
        self.client.set_terminated(self.id, "FINISHED" if finished else "KILLED")

    def _log(self, values: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        self.client.log_batch(self.id, metrics=[Metric(_name(key), value, now, step) for key, value in values.items()])


def _name(key: str) -> str:
    """MLflow allows no @ in a name."""
    return key.replace("@", "_at_")
