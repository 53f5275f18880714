"""What one training is to do, and what it decided."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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


@dataclass
class Outcome:
    """The keys of run.json that a training decides; see ``demure.runs.manifest.RunManifest``."""

    modalities: list[str] = field(default_factory=list)
    log: TrainingLog | None = None
    valid: dict[str, float] = field(default_factory=dict)
    features: dict[str, dict[str, Any]] | None = None
    causes: dict[str, float] | None = None
    placebo: dict[str, dict[str, Any]] | None = None
    pool: dict[str, float] | None = None
    walk: dict[str, float] | None = None
    content_items: dict[str, float] | None = None
    denoise: dict[str, Any] | None = None

    @property
    def epochs(self) -> int:
        return 0 if self.log is None else self.log.last_epoch

    @property
    def best_epoch(self) -> int:
        return 0 if self.log is None else self.log.best_epoch
