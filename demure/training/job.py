"""What one training is to do."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from demure.data.dataset import Dataset
from demure.errors import RunError
from demure.features import store
from demure.files import sha256_bytes
from demure.recipe.load import to_yaml
from demure.recipe.schema import Recipe
from demure.runs.folder import claim_folder
from demure.runs.manifest import DatasetReference, RunManifest
from demure.storage.names import shown
from demure.training.checkpoint import TrainingContext, TrainingLog


@dataclass(frozen=True)
class Job:
    """What one call of :func:`train` is to do."""

    data: Dataset
    recipe: Recipe
    out: Path
    seed: int
    device: torch.device
    context: TrainingContext
    overwrite: bool
    claimed: contextlib.ExitStack

    def claim_folder(self) -> None:
        """Let the first process take the run folder until the training ends, and the others wait for it."""
        if self.context.processes.is_first:
            claim = claim_folder(self.out, resume=self.context.resume, overwrite=self.overwrite)
            if self.claimed.enter_context(claim) != self.context.folder:
                raise RunError("was finished by another process", where=self.out, remedy="try again")
        self.context.processes.barrier()

    def feature_manifests(self, modalities: Sequence[str]) -> dict[str, dict[str, Any]]:
        return {name: store.read_manifest(self.data.path, name).to_dict() for name in modalities}

    def signature(self, features: dict[str, dict[str, Any]], verdicts: dict[str, str] | None = None) -> str:
        """Return a hash of all that a checkpoint depends on; ``verdicts`` are known by their hashes, not their path."""
        facts: list[Any] = [self.data.identity, to_yaml(replace(self.recipe, denoise="")), self.seed, features]
        if verdicts is not None:
            facts.append(verdicts)
        return sha256_bytes(json.dumps(facts, sort_keys=True, default=str).encode())

    def manifest(self, modalities: Iterable[str] = (), log: TrainingLog | None = None) -> RunManifest:
        """Return run.json with what the job, its ``modalities`` and the ``log`` of its training decide."""
        return RunManifest(
            recipe=self.recipe.name,
            model=self.recipe.model,
            seed=self.seed,
            device=self.device.type,
            dataset=DatasetReference(shown(str(self.data.path.absolute())), self.data.identity),
            ordered=self.data.has_time,
            epochs=0 if log is None else log.last_epoch,
            best_epoch=0 if log is None else log.best_epoch,
            modalities=list(modalities),
        )
