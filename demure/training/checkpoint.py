"""Where a training stands, in one safetensors file, so that it goes on exactly as if it had never stopped."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from demure.errors import RunError
from demure.files import atomic_file
from demure.runs import CHECKPOINT


@dataclass
class Log:
    """One entry per judged epoch, the first before any step, with ``best`` the place of the highest ``metric``."""

    metric: str
    epochs: list[dict[str, float]] = field(default_factory=list)
    best: int = 0

    @property
    def best_value(self) -> float:
        """``metric`` at the best epoch."""
        return self.epochs[self.best][self.metric]


@dataclass
class Keeper:
    """Keeps the checkpoint and metrics.jsonl of a training in ``folder``; ``signature`` says what they belong to."""

    folder: Path
    signature: str
    module: nn.Module
    optimiser: torch.optim.Optimizer
    generator: torch.Generator
    log: Log
    best: dict[str, Tensor] = field(default_factory=dict)

    def go_on(self) -> Log:
        """Take up the checkpoint if there is one. Raises ``RunError`` if it is damaged or of another training."""
        if (self.folder / CHECKPOINT).is_file():
            self._restore(self.folder / CHECKPOINT)
            self._write_metrics()
        return self.log

    def note(self, entry: dict[str, float]) -> None:
        """Add an epoch to the log, keep its state if it is the best so far, and write everything down."""
        log = self.log
        log.epochs.append(entry)
        if len(log.epochs) == 1 or entry[log.metric] > log.best_value:
            log.best = len(log.epochs) - 1
            self.best = {name: tensor.detach().clone() for name, tensor in self.module.state_dict().items()}
        self._save(self.folder / CHECKPOINT)
        self._write_metrics()

    def begin_again(self) -> None:
        """Go back to the best epoch, with an optimiser that knows nothing yet."""
        self.module.load_state_dict(self.best)
        self.optimiser.state.clear()

    def finish(self) -> Log:
        """Leave the module at its best epoch."""
        self.module.load_state_dict(self.best)
        return self.log

    def _write_metrics(self) -> None:
        with atomic_file(self.folder / "metrics.jsonl") as part:
            part.write_text("".join(json.dumps(entry) + "\n" for entry in self.log.epochs), encoding="utf-8")

    def _save(self, path: Path) -> None:
        tensors = {f"model.{name}": tensor for name, tensor in self.module.state_dict().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        for index, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"adam.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
        tensors["generator"] = self.generator.get_state()
        told = {"signature": self.signature, "log": json.dumps(asdict(self.log))}
        with atomic_file(path) as part:
            save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, part, metadata=told)

    def _restore(self, path: Path) -> None:
        from safetensors import safe_open

        try:
            with safe_open(path, "pt") as file:
                told = file.metadata() or {}
            tensors = load_file(path)
        except Exception as error:  # safetensors raises its own kind, which is no ValueError
            raise RunError(f"cannot be read ({error})", where=path, remedy="train again with --overwrite") from error
        if told.get("signature") != self.signature:
            raise RunError(
                "belongs to another dataset, recipe or seed", where=path, remedy="use the same ones, or --overwrite"
            )
        self.module.load_state_dict(_under(tensors, "model."))
        state = self.optimiser.state_dict()
        for name, tensor in _under(tensors, "adam.").items():
            index, key = name.split(".", 1)
            state["state"].setdefault(int(index), {})[key] = tensor
        self.optimiser.load_state_dict(state)
        self.generator.set_state(tensors["generator"])
        self.log, self.best = Log(**json.loads(told["log"])), _under(tensors, "best.")


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
