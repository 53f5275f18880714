"""TensorBoard: event files in the run folder, for `tensorboard --logdir RUNS`."""

from __future__ import annotations

from collections.abc import Mapping

from torch.utils.tensorboard import SummaryWriter

from demure.tracking.protocol import RunInfo

FOLDER = "tensorboard"


class TensorBoard:
    """Scalars per epoch, the recipe as text."""

    def begin(self, info: RunInfo) -> None:
        self.writer = SummaryWriter(str(info.files / FOLDER))
        rows = [f"| {name} | {value} |" for name, value in {**info.facts, **info.recipe}.items()]
        self.writer.add_text("recipe", "\n".join(["| key | value |", "| --- | --- |", *rows]))

    def epoch(self, number: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            if name != "epoch":
                self.writer.add_scalar(name, value, number)
        self.writer.flush()

    def end(self, values: Mapping[str, float], *, finished: bool) -> None:
        for name, value in values.items():
            self.writer.add_scalar(f"best/{name}", value, 0)
        self.writer.close()
