"""Which runs are the same training but for the seed?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def methods_of(manifests: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Method -> its runs, in the order of the first of each; ``manifests``: run folder -> its run.json.

    Runs with an equal recipe, model, features and version of demure, and each another seed, are one method, called by
    the recipe (``#2`` and so on where that name is taken). A run without such siblings is a method of its own, called
    by its folder; so is each of two runs that do not even differ in their seed.
    """
    alike: dict[str, list[str]] = {}
    for run, manifest in manifests.items():
        alike.setdefault(_training(Path(run), manifest), []).append(run)
    methods: dict[str, list[str]] = {}
    for runs in alike.values():
        seeds = {manifests[run].get("seed") for run in runs}
        if len(runs) == 1 or len(seeds) < len(runs):
            methods |= {run: [run] for run in runs}
        else:
            recipe = str(manifests[runs[0]].get("recipe"))
            taken = {*methods, *manifests}
            numbered = (f"{recipe} #{n}" for n in range(2, len(taken) + 3))
            methods[recipe if recipe not in taken else next(name for name in numbered if name not in taken)] = runs
    return methods


def _training(run: Path, manifest: Mapping[str, Any]) -> str:
    recipe = run / "recipe.yaml"
    features = {name: one.get("features_sha256") for name, one in manifest.get("features", {}).items()}
    told = [manifest.get(key) for key in ("recipe", "model", "modalities", "demure_version")]
    return json.dumps([*told, features, recipe.read_text("utf-8") if recipe.is_file() else None], sort_keys=True)
