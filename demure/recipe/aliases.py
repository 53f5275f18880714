"""Former names of recipe keys: they keep working, and a note gives the current name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from demure.errors import RecipeError

ALIASES = {
    "denoiser.themes": "denoiser.clusters",
    "training.alone_epochs": "training.popularity_only_epochs",
    "training.batch_cells": "training.batch_pairs",
    "training.theme_rate": "training.cluster_rate",
    "training.point_offset_rate": "training.offset_rate",
    "training.hearings": "training.belief_passes",
    "training.watched_users": "training.validation_users",
}
"""Former name of a key -> current name. A key stays in its section."""


def current_name(key: str) -> str:
    """Return the current name of ``key`` (``training.epochs``); other names are returned as they are."""
    return ALIASES.get(key, key)


def with_current_names(values: Mapping[str, Any], where: str, note: Callable[[str], None]) -> dict[str, Any]:
    """Return the ``values`` of a recipe, read from ``where``, under the current names of their keys.

    ``note`` receives a sentence for each former name. Raises ``RecipeError`` if a key is given under both its names.
    """
    renamed: dict[str, Any] = {}
    for section, keys in values.items():
        if not isinstance(keys, Mapping):
            renamed[section] = keys
            continue
        renamed[section] = {}
        for key, value in keys.items():
            name = f"{section}.{key}"
            current = current_name(name)
            if current != name:
                short = current.rpartition(".")[2]
                if short in keys:
                    raise RecipeError(f"{name} is the former name of {current}", where=where, remedy="give one of them")
                note(f"{name} is now {current}")
                key = short
            renamed[section][key] = value
    return renamed
