"""The names of the interests to which recommended items belong.

Shape suffixes: n recommendations, I items, C clusters.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from demure.runs.folder import INTERESTS
from demure.runs.manifest import RunManifest, run_files

if TYPE_CHECKING:
    from demure.model.recommender import Recommender


class InterestNames:
    """The names of the interests of a run, whose ``recommender`` may have new items. They are empty for a baseline, and
    for a run of an earlier version.

    Raises ``RunError`` if interests.json was changed or is damaged.
    """

    def __init__(self, path: Path, manifest: RunManifest, recommender: Recommender | None) -> None:
        self._names: dict[str, list[str]] = {}
        self._cluster_I: dict[str, np.ndarray] = {}
        if recommender is None:
            return
        files = run_files(path, manifest)
        if not files.has(INTERESTS):
            return
        try:
            content = json.loads(files.text(INTERESTS))
            self._names = {str(name): [str(entry["name"]) for entry in own] for name, own in content.items()}
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise files.failed(INTERESTS, error) from error
        denoiser = recommender.denoiser
        for name, expert in zip(denoiser.modalities, denoiser.experts(), strict=True):
            with torch.no_grad():
                q_IC = expert.memberships_of(torch.arange(len(expert.present_I), device=expert.present_I.device))
            self._cluster_I[name] = q_IC.argmax(1).cpu().numpy()

    def of(self, items: np.ndarray, because: Sequence[str]) -> list[str]:
        """Return the name of the interest of each item (n,) in the modality ``because`` (n,) of which it is
        recommended; empty for ``history``."""
        names = []
        for item, modality in zip(items.tolist(), because, strict=True):
            own = self._names.get(modality)
            names.append("" if own is None else own[self._cluster_I[modality][item]])
        return names
