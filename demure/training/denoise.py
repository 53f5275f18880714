"""The recipe key ``denoise``: the verdicts of a run as weights in the training of a baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from demure.baselines.registry import WITH_VERDICTS
from demure.data.dataset import Dataset
from demure.diagnosis.weights import read_weights
from demure.errors import RecipeError
from demure.files import sha256_bytes
from demure.recipe.schema import Recipe
from demure.storage.names import shown

_RECIPES = (*(model for model in WITH_VERDICTS if model != "sasrec"), "sasrec-content")


@dataclass(frozen=True)
class Denoising:
    """``weights``: modality -> (N,) float32 of the training interactions, of the modalities that have verdicts.

    ``record`` is the key ``denoise`` of run.json: the run, the SHA-256 of the weights, the mean probabilities, and
    notes.
    """

    weights: dict[str, np.ndarray]
    record: dict[str, Any]

    @property
    def identity(self) -> dict[str, str]:
        """The SHA-256 of each modality's weights; a checkpoint depends on them, not on the path of their run."""
        return {name: sha256_bytes(weight.tobytes()) for name, weight in self.weights.items()}


def check_denoising(recipe: Recipe) -> None:
    """Raise ``RecipeError`` if ``recipe`` has verdicts and its model cannot use them."""
    if not recipe.denoise:
        return
    uses_content = recipe.model in WITH_VERDICTS and (recipe.model != "sasrec" or recipe.baseline.get("content", 0) > 0)
    if not uses_content:
        raise RecipeError(
            f"{recipe.name} has no features that verdicts could weigh",
            where=f"denoise={recipe.denoise}",
            remedy=f"use one of {', '.join(_RECIPES)}, or leave denoise out",
        )


def read_denoising(run: Path, data: Dataset, modalities: Sequence[str], share: float) -> Denoising:
    """Return the weights of a run's verdicts for the training interactions of ``data`` and its ``modalities``.

    A weight is 1 - ``share`` + ``share`` x the probability of a point of interest over the mean of its modality, so
    that a modality that is rarely a cause has as much influence as without verdicts; the probability is 0 where the
    item lacks the modality.
    A modality that the run lacks, or whose features explain no more than shuffled ones, counts in full, and a note
    names it. Raises ``RunError`` if ``run`` is not a run with a diagnosis of ``data``, ``RecipeError`` if no modality
    has verdicts.
    """
    verdicts = read_weights(run, data)
    weights: dict[str, np.ndarray] = {}
    means, notes = {}, []
    for name in modalities:
        if name not in verdicts.modalities:
            notes.append(f"{name} counts in full: {run} has no verdicts on it")
        elif name in verdicts.cannot_tell:
            notes.append(f"{name} counts in full: in {run} its features explain no more than shuffled ones")
        else:
            column = verdicts.modalities.index(name)
            probability_N, has_N = verdicts.probability[:, column], verdicts.present[:, column]
            means[name] = float(probability_N[has_N].mean()) if has_N.any() else 0.0
            weights[name] = (1 - share + share * probability_N / (means[name] or 1.0)).astype(np.float32)
    if not weights:
        raise RecipeError(
            f"has no verdicts that weigh {', '.join(modalities)}",
            where=f"denoise={run}",
            remedy="leave denoise out, or diagnose these modalities with features that explain more",
        )
    denoising = Denoising(weights, {})
    denoising.record.update(run=shown(str(run)), weights_sha256=denoising.identity, mean_probability=means, notes=notes)
    return denoising
