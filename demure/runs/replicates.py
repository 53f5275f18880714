"""Group runs that are the same training with different seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from demure.runs.folder import RECIPE
from demure.runs.manifest import RunManifest, run_files


def group_replicates(manifests: Mapping[str, RunManifest]) -> dict[str, list[str]]:
    """Return method -> its runs, in the order of the first of each; ``manifests``: run folder -> its run.json.

    Runs with an equal recipe, model, features and version of demure, each with another seed, are one method, named
    after the recipe (``#2`` and so on where that name is taken). Any other run is a method of its own, named after its
    folder; so is each of two runs that have even the same seed.
    """
    groups: dict[str, list[str]] = {}
    for run, manifest in manifests.items():
        groups.setdefault(_training_key(Path(run), manifest), []).append(run)
    methods: dict[str, list[str]] = {}
    for runs in groups.values():
        seeds = {manifests[run].seed for run in runs}
        if len(runs) == 1 or len(seeds) < len(runs):
            methods |= {run: [run] for run in runs}
        else:
            recipe = manifests[runs[0]].recipe
            taken = {*methods, *manifests}
            numbered = (f"{recipe} #{n}" for n in range(2, len(taken) + 3))
            methods[recipe if recipe not in taken else next(name for name in numbered if name not in taken)] = runs
    return methods


def _training_key(run: Path, manifest: RunManifest) -> str:
    """Return a text that is equal for runs that differ in their seed only."""
    files = run_files(run, manifest)
    features = {name: facts.get("features_sha256") for name, facts in (manifest.features or {}).items()}
    facts = [manifest.recipe, manifest.model, manifest.modalities, manifest.demure_version, features]
    return json.dumps([*facts, files.text(RECIPE) if files.has(RECIPE) else None], sort_keys=True)
