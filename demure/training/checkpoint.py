"""The checkpoint of a training, one safetensors file, from which it goes on exactly as if it had never stopped."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from demure.compute.process_group import ProcessGroup
from demure.errors import RunError
from demure.files import atomic_file, remedy_of
from demure.integrity import CHANGED
from demure.progress import Listener, ValidatedEpoch, silent
from demure.runs.folder import CHECKPOINT
from demure.training.optimizer import Optimizer
from demure.training.signals import Interrupts

CHECKPOINT_MINUTES = 5.0
T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass
class TrainingLog:
    """One entry per validation, the first before any step; ``best_entry`` is the index of the one with the highest
    ``metric``."""

    metric: str
    entries: list[dict[str, float]] = field(default_factory=list)
    best_entry: int = 0

    @property
    def best_value(self) -> float:
        """``metric`` of the best entry."""
        return self.entries[self.best_entry][self.metric]

    @property
    def last_epoch(self) -> int:
        """Number of epochs trained; an entry without an epoch of its own repeats the number before."""
        return int(self.entries[-1]["epoch"]) if self.entries else 0

    @property
    def best_epoch(self) -> int:
        """Epoch of the best entry, 0 before any step."""
        return int(self.entries[self.best_entry]["epoch"])

    @classmethod
    def from_json(cls, text: str) -> TrainingLog:
        """Return the log in the metadata of a checkpoint."""
        stored = json.loads(text)
        return cls(stored["metric"], stored["epochs"], stored["best"])

    def to_json(self) -> str:
        """Return the log for the metadata of a checkpoint, under the names of the file format."""
        return json.dumps({"metric": self.metric, "epochs": self.entries, "best": self.best_entry})


@dataclass
class TrainingState:
    """The progress of a training since its last validation.

    ``epochs`` completed, ``steps`` of the present one, the ``losses`` of all these steps; ``began`` is the state of the
    random generator at the start of the present epoch, None before it; ``stages_done`` counts the completed stages.
    """

    epochs: int = 0
    steps: int = 0
    stages_done: int = 0
    losses: list[float] = field(default_factory=list)
    began: Tensor | None = None


@dataclass(frozen=True)
class TrainingContext:
    """The surroundings of a training, which do not change what it learns.

    The ``folder`` it writes to, whether to ``resume``, the ``minutes`` between two checkpoints, the ``listener`` to its
    progress and the ``processes`` that share the work.
    """

    folder: Path
    resume: bool = False
    minutes: float = CHECKPOINT_MINUTES
    listener: Listener = silent
    processes: ProcessGroup = field(default_factory=ProcessGroup)


class CheckpointManager:
    """Writes the checkpoint and metrics.jsonl of a training, and restores a checkpoint where it is to be resumed.

    ``signature`` names the dataset, recipe and seed that a checkpoint belongs to. Raises ``RunError`` for a checkpoint
    that is damaged or belongs to another training.
    """

    def __init__(
        self,
        context: TrainingContext,
        signature: str,
        module: nn.Module,
        optimizer: Optimizer,
        generator: torch.Generator,
        log: TrainingLog,
    ) -> None:
        self.context, self.signature, self.module, self.optimizer = context, signature, module, optimizer
        self.generator, self.log, self.state = generator, log, TrainingState()
        self.best: dict[str, Tensor] = {}
        self._path = context.folder / CHECKPOINT
        self._saved = time.monotonic()
        self._interrupts = Interrupts()
        self._inconsistent = False
        if context.resume and self._path.is_file():
            self._restore()
            self._write_metrics()
        context.processes.broadcast_weights(module)

    @contextlib.contextmanager
    def handle_signals(self) -> Iterator[None]:
        """Write a checkpoint of the last completed step when Ctrl-C or SIGTERM ends the training."""
        with self._interrupts:
            try:
                yield
            except KeyboardInterrupt:
                if self.log.entries and not self._inconsistent:
                    self._save()
                raise

    @contextlib.contextmanager
    def uninterrupted(self) -> Iterator[None]:
        """Hold back signals until the end of the block, so that a checkpoint holds all of its effects or none."""
        with self._interrupts.held():
            self._inconsistent = True
            yield
            self._inconsistent = False  # stays set after an error: half of a step is never saved

    def save_if_due(self) -> None:
        """Write a checkpoint if the last one is old enough and all weights are finite; to be called after each step."""
        if time.monotonic() - self._saved >= 60 * self.context.minutes and all(
            bool(torch.isfinite(parameter).all()) for parameter in self.module.parameters()
        ):
            with self.uninterrupted():
                self._save()

    def record(self, entry: dict[str, float], *, restart_best: bool = False) -> None:
        """Add ``entry`` to the log and write everything; keep the weights if they are the best so far.

        With ``restart_best`` they are the best in any case: the metric is not comparable with earlier entries.
        """
        log = self.log
        with self.uninterrupted():
            log.entries.append(entry)
            self.state = TrainingState(stages_done=self.state.stages_done)
            if restart_best or len(log.entries) == 1 or entry[log.metric] > log.best_value:
                log.best_entry = len(log.entries) - 1
                self.best = {name: tensor.detach().clone() for name, tensor in self._weights().items()}
            self._save()
            self._write_metrics()
        self.context.listener(
            ValidatedEpoch("validate", log.last_epoch, None, dict(entry), log.metric, log.best_value, log.best_epoch)
        )

    def finish_stage(self) -> None:
        """Start the next stage from the best weights, without the optimizer's moments."""
        with self.uninterrupted():
            self._load_best()
            self.optimizer.reset()
            self.state = TrainingState(stages_done=self.state.stages_done + 1)

    def finish(self) -> TrainingLog:
        """Load the best weights into the module and return the log."""
        self._load_best()
        return self.log

    def _weights(self) -> dict[str, Tensor]:
        """The learned parameters; the rest of a module follows from its dataset and recipe."""
        return {name: parameter.detach() for name, parameter in self.module.named_parameters()}

    def _load_best(self) -> None:
        self.module.load_state_dict(self.best, strict=False)

    def _write_metrics(self) -> None:
        if self.context.processes.is_first:
            with atomic_file(self.context.folder / "metrics.jsonl") as part:
                part.write_text("".join(json.dumps(entry) + "\n" for entry in self.log.entries), encoding="utf-8")

    def _save(self) -> None:
        self._saved = time.monotonic()
        if not self.context.processes.is_first:
            return
        state = self.state
        tensors = {f"model.{name}": tensor for name, tensor in self._weights().items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        tensors |= {f"adam.{name}": tensor for name, tensor in self.optimizer.state().items()}
        tensors["generator"] = self.generator.get_state()
        # "place" and "began" are the names of the file format.
        tensors["place"] = torch.tensor([state.epochs, state.steps, state.stages_done])
        tensors["losses"] = torch.tensor(state.losses, dtype=torch.float64)
        if state.began is not None:
            tensors["began"] = state.began
        tensors["random"] = torch.get_rng_state()
        device = next(self.module.parameters()).device
        if device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(device)
        metadata = {"signature": self.signature, "log": self.log.to_json()}
        write_unfinished(self._path, tensors, metadata)

    def _restore(self) -> None:
        path = self._path
        tensors, metadata = read_unfinished(path)
        if metadata.get("signature") != self.signature:
            raise RunError(
                "belongs to another dataset, recipe or seed", where=path, remedy="use the same ones, or --overwrite"
            )
        if "place" not in tensors:
            raise RunError("was written by another demure", where=path, remedy="train again with --overwrite")
        self.module.load_state_dict(strip_prefix(tensors, "model."), strict=False)
        self.optimizer.restore(strip_prefix(tensors, "adam."))
        self.generator.set_state(tensors["generator"])
        torch.set_rng_state(tensors["random"])
        if "random.cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["random.cuda"])
        epochs, steps, stages_done = tensors["place"].tolist()
        self.state = TrainingState(epochs, steps, stages_done, tensors["losses"].tolist(), tensors.get("began"))
        device = next(self.module.parameters()).device
        self.best = {name: tensor.to(device) for name, tensor in strip_prefix(tensors, "best.").items()}
        self.log = TrainingLog.from_json(metadata["log"])
        logger.info(
            "go on from the checkpoint %s, after epoch %d", path, self.log.last_epoch if self.log.entries else 0
        )


def write_unfinished(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors of an unfinished training with a hash of themselves, as no manifest records one yet."""
    metadata = metadata or {}
    write_tensors(path, tensors, {**metadata, "sha256": _hash_content(tensors, metadata)})


def read_unfinished(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors and the metadata of :func:`write_unfinished`. Raises ``RunError`` if they are damaged."""
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        remedy = remedy_of(error, "train again with --overwrite")
        raise RunError(f"cannot be read ({error})", where=path, remedy=remedy) from error
    digest = metadata.pop("sha256", None)  # files of early versions have none
    if digest is not None and digest != _hash_content(tensors, metadata):
        raise RunError(CHANGED, where=path, remedy="train again with --overwrite")
    return tensors, metadata


def _hash_content(tensors: dict[str, Tensor], metadata: dict[str, str]) -> str:
    """Return the SHA-256 of all that a file of an unfinished training holds, as hex digits."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file whole and flushed to the disk, or leave the old one. Raises ``DemureError`` if full."""
    with atomic_file(path) as part:
        try:
            save_file({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, part, metadata=metadata)
        except SafetensorError as error:  # safetensors wraps the system's error in one of its own
            raise OSError(None, str(error).rsplit("I/O error: ", 1)[-1]) from error
        with open(part, "rb+") as handle:
            os.fsync(handle.fileno())


def strip_prefix(tensors: dict[str, T], prefix: str) -> dict[str, T]:
    """Return the tensors whose names begin with ``prefix``, under the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
