"""MLflow: experiment `demure` at MLFLOW_TRACKING_URI, or in a file mlflow.db beside the run folder, for
`mlflow ui --backend-store-uri sqlite:///mlflow.db`."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping

import sqlalchemy  # noqa: F401  the database needs it: if it is missing, fail before the training
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from demure.tracking.protocol import RunInfo

_PARAMS_PER_CALL = 100  # MLflow's limit


class MLflow:
    """Metrics per epoch, the recipe as parameters; a resumed training goes on in the same run."""

    def begin(self, info: RunInfo) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        logging.getLogger("mlflow").setLevel(logging.WARNING)
        file = info.folder.absolute().parent / "mlflow.db"
        self.client = MlflowClient(tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{file}")
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "demure")
        experiment = self.client.get_experiment_by_name(name)
        experiment_id = self.client.create_experiment(name) if experiment is None else experiment.experiment_id
        self.run_id = info.load_id("mlflow") or ""
        if not self.run_id:
            self.run_id = self.client.create_run(experiment_id, run_name=info.name).info.run_id
            info.save_id("mlflow", self.run_id)
            params = [Param(_allowed(key), str(value)) for key, value in {**info.facts, **info.recipe}.items()]
            for start in range(0, len(params), _PARAMS_PER_CALL):
                self.client.log_batch(self.run_id, params=params[start : start + _PARAMS_PER_CALL])

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        self._log(values, number)

    def end(self, values: Mapping[str, float], *, finished: bool) -> None:
        self._log({f"best/{name}": value for name, value in values.items()}, 0)
        self.client.set_terminated(self.run_id, "FINISHED" if finished else "KILLED")

    def _log(self, values: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        metrics = [Metric(_allowed(key), value, now, step) for key, value in values.items()]
        self.client.log_batch(self.run_id, metrics=metrics)


def _allowed(key: str) -> str:
    """Return ``key`` without @, which MLflow does not allow in a name."""
    return key.replace("@", "_at_")
