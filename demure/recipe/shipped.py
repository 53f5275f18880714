"""The recipes that ship with demure: YAML files in the package ``demure_recipes``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import yaml

from demure.errors import RecipeError
from demure.files import atomic_file
from demure.suggest import did_you_mean


def shipped_names() -> list[str]:
    """Return the names of the shipped recipes, sorted, the default first."""
    files = resources.files("demure_recipes").iterdir()
    names = sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))
    return sorted(names, key=lambda name: name != "default")


def recipe_text(name: str) -> str:
    """Return the YAML of a shipped recipe. Raises ``RecipeError`` for an unknown name."""
    if name not in shipped_names():
        raise RecipeError(f"no recipe {name!r}", where="recipe", remedy=near_names(name, shipped_names()))
    return (resources.files("demure_recipes") / f"{name}.yaml").read_text(encoding="utf-8")


def list_recipes() -> list[dict[str, str]]:
    """Return ``name``, ``model`` and ``about`` of every shipped recipe."""
    rows = []
    for name in shipped_names():
        values = base = yaml.safe_load(recipe_text(name))
        while "model" not in base and "extends" in base:
            base = yaml.safe_load(recipe_text(base["extends"]))
        rows.append({"name": name, "model": base.get("model", "demure"), "about": values.get("about", "")})
    return rows


def copy_recipe(name: str, file: Path) -> Path:
    """Write a shipped recipe to ``file`` and return it. Raises ``RecipeError`` if the file exists."""
    text = recipe_text(name)
    if file.exists():
        raise RecipeError("already exists", where=file, remedy="choose another name")
    with atomic_file(file) as part:
        part.write_text(text, encoding="utf-8")
    return file


def near_names(name: str, names: Sequence[str]) -> str:
    """Return a remedy for the unknown ``name``: the nearest of ``names``, or all of them."""
    return did_you_mean(name, names) or f"known: {', '.join(names)}"
