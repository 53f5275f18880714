"""Where a training stands, in one safetensors file, so that it goes on exactly as if it had never stopped."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from demure.compute.process_group import Team
from demure.errors import RunError
from demure.files import atomic_file
from demure.progress import ValidatedEpoch, Listener, silent
from demure.runs.folder import CHECKPOINT
from demure.training.optimizer import Optimizer
from demure.training.signals import Interrupts

CHECKPOINT_MINUTES = 5.0
T = TypeVar("T")


@dataclass
class TrainingLog:
    """One entry per judged epoch, the first before any step, with ``best`` the place of the highest ``metric``."""

    metric: str
    epochs: list[dict[str, float]] = field(default_factory=list)
    best: int = 0

    @property
    def best_value(self) -> float:
        """``metric`` at the best epoch."""
        return self.epochs[self.best][self.metric]


@dataclass
class TrainingState:
    """How far a training is since it was last judged: ``epochs`` whole ones, ``steps`` of the present one, the
    ``losses`` of all these steps; ``began`` is the generator's state at the start of the present epoch, None before
    it; ``phase`` counts how often it began again."""

    epochs: int = 0
    steps: int = 0
    phase: int = 0
    losses: list[float] = field(default_factory=list)
    began: Tensor | None = None


@dataclass(frozen=True)
class TrainingContext:
    """How a training is looked after, which does not change what it learns: the ``folder`` that it writes to, whether
    to ``resume``, every how many ``minutes`` to write a checkpoint, its ``listener`` and its ``team``."""

    folder: Path
    resume: bool = False
    minutes: float = CHECKPOINT_MINUTES
    listener: Listener = silent
    team: Team = field(default_factory=Team)


class CheckpointManager:
    """Keeps the checkpoint and metrics.jsonl of a training; ``signature`` says what they belong to. Takes up the
    checkpoint where one is wanted and there; raises ``RunError`` if it is damaged or of another training."""

    def __init__(
        self, care: TrainingContext, signature: str, module: nn.Module, descent: Optimizer, generator: torch.Generator, log: TrainingLog
    ) -> None:
        self.care, self.signature, self.module, self.descent = care, signature, module, descent
        self.generator, self.log = generator, log
        self.folder, self.place = care.folder, TrainingState()
        self.best: dict[str, Tensor] = {}
        self._saved = time.monotonic()
        self._interrupts = Interrupts()
        self._torn = False
        if care.resume and (self.folder / CHECKPOINT).is_file():
            self._restore(self.folder / CHECKPOINT)
            self._write_metrics()
        care.team.agree(module)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """For as long as the training lasts: Ctrl-C and SIGTERM leave a checkpoint of the last whole step."""
        with self._interrupts:
            try:
                yield
            except KeyboardInterrupt:
                if self.log.epochs and not self._torn:
                    self._save()
                raise

    @contextlib.contextmanager
    def whole(self) -> Iterator[None]:
        """A step, or whatever else is done or not done: an interruption waits for its end."""
        with self._interrupts.held():
            self._torn = True
            yield
            self._torn = False

    def tick(self) -> None:
        """After each step: write a checkpoint if it is time, unless the step went wrong."""
        if time.monotonic() - self._saved >= 60 * self.care.minutes and all(
            bool(torch.isfinite(parameter).all()) for parameter in self.module.parameters()
        ):
            with self.whole():
                self._save()

    def note(self, entry: dict[str, float], *, anew: bool = False) -> None:
        """Add an epoch to the log, keep its state if it is the best so far, or the metric begins ``anew``, and write
        everything down."""
        log = self.log
        with self.whole():
            log.epochs.append(entry)
            self.place = TrainingState(phase=self.place.phase)
            if anew or len(log.epochs) == 1 or entry[log.metric] > log.best_value:
                log.best = len(log.epochs) - 1
                self.best = {name: tensor.detach().clone() for name, tensor in self._weights().items()}
            self._save()
            self._write_metrics()
        at, best_at = int(entry["epoch"]), int(log.epochs[log.best]["epoch"])
        self.care.listener(ValidatedEpoch("validate", at, None, dict(entry), log.metric, log.best_value, best_at))

    def begin_again(self) -> None:
        """Go back to the best epoch, with an optimiser that knows nothing yet."""
        with self.whole():
            self._to_best()
            self.descent.forget()
            self.place = TrainingState(phase=self.place.phase + 1)

    def finish(self) -> TrainingLog:
        """Leave the module at its best epoch."""
        self._to_best()
        return self.log

    def _weights(self) -> dict[str, Tensor]:
        """What is learned; the rest of a module follows from its dataset and recipe."""
        return {name: parameter.detach() for name, parameter in self.module.named_parameters()}

    def _to_best(self) -> None:
        self.module.load_state_dict(self.best, strict=False)

    def _write_metrics(self) -> None:
        if self.care.team.leads:
            with atomic_file(self.folder / "metrics.jsonl") as part:
                part.write_text("".join(json.dumps(entry) + "\n" for entry in self.log.epochs), encoding="utf-8")

    def _save(self) -> None:
        self._saved = time.monotonic()
        if not self.care.team.leads:
            return
        place = self.place
        tensors = {f"model.{name}": tensor for name, tensor in self._weights().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        tensors |= {f"adam.{name}": tensor for name, tensor in self.descent.state().items()}
        tensors["generator"] = self.generator.get_state()
        tensors["place"] = torch.tensor([place.epochs, place.steps, place.phase])
        tensors["losses"] = torch.tensor(place.losses, dtype=torch.float64)
        if place.began is not None:
            tensors["began"] = place.began
        tensors["random"] = torch.get_rng_state()
        device = next(self.module.parameters()).device
        if device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(device)
        told = {"signature": self.signature, "log": json.dumps(asdict(self.log))}
        write_tensors(self.folder / CHECKPOINT, tensors, told)

    def _restore(self, path: Path) -> None:
        from safetensors import safe_open

        try:
            with safe_open(path, "pt") as file:
                told = file.metadata() or {}
            tensors = load_file(path)
        except (OSError, SafetensorError) as error:
            raise RunError(f"cannot be read ({error})", where=path, remedy="train again with --overwrite") from error
        if told.get("signature") != self.signature:
            raise RunError(
                "belongs to another dataset, recipe or seed", where=path, remedy="use the same ones, or --overwrite"
            )
        if "place" not in tensors:
            raise RunError("was written by another demure", where=path, remedy="train again with --overwrite")
        self.module.load_state_dict(under(tensors, "model."), strict=False)
        self.descent.restore(under(tensors, "adam."))
        self.generator.set_state(tensors["generator"])
        torch.set_rng_state(tensors["random"])
        if "random.cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["random.cuda"])
        epochs, steps, phase = tensors["place"].tolist()
        self.place = TrainingState(epochs, steps, phase, tensors["losses"].tolist(), tensors.get("began"))
        device = next(self.module.parameters()).device
        self.best = {name: tensor.to(device) for name, tensor in under(tensors, "best.").items()}
        self.log = TrainingLog(**json.loads(told["log"]))


def write_tensors(path: Path, tensors: dict[str, Tensor], told: dict[str, str] | None = None) -> None:
    """Write a safetensors file whole and for good, or leave what was there. Raises ``DemureError`` on a full disk."""
    with atomic_file(path) as part:
        try:
            save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, part, metadata=told)
        except SafetensorError as error:  # no OSError, whatever the system said
            raise OSError(None, str(error).rsplit("I/O error: ", 1)[-1]) from error
        with open(part, "rb+") as handle:
            os.fsync(handle.fileno())


def under(tensors: dict[str, T], prefix: str) -> dict[str, T]:
    """Those whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
