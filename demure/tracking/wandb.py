"""Weights & Biases: project `demure`, or as its own variables (WANDB_PROJECT, WANDB_MODE, ...) say."""

from __future__ import annotations

import os
from collections.abc import Mapping

import wandb

from demure.tracking.protocol import RunInfo


class WeightsAndBiases:
    """Metrics per epoch; a resumed training goes on in the same run."""

    def begin(self, info: RunInfo) -> None:
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "demure"),
            name=info.name,
            dir=str(info.files),
            config={**info.facts, **info.recipe},
            id=info.load_id("wandb"),
            resume="allow",
            settings=wandb.Settings(console="off", silent=True),
        )
        info.save_id("wandb", self.run.id)

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=number)

    def end(self, values: Mapping[str, float], *, finished: bool) -> None:
        self.run.summary.update({f"best/{name}": value for name, value in values.items()})
        self.run.finish(exit_code=0 if finished else 1)
