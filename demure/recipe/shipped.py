"""The recipes that ship: files in the package ``demure_recipes``."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import yaml

from demure.errors import RecipeError
from demure.files import atomic_file
from demure.suggest import did_you_mean


def shipped_names() -> list[str]:
    """Names of the shipped recipes, sorted, the default first."""
    files = resources.files("demure_recipes").iterdir()
    names = sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml"))
    return sorted(names, key=lambda name: name != "default")


def recipe_text(name: str) -> str:
    """The YAML of a shipped recipe. Raises ``RecipeError`` for an unknown name."""
    if name not in shipped_names():
        remedy = did_you_mean(name, shipped_names()) or f"known: {', '.join(shipped_names())}"
        raise RecipeError(f"no recipe {name!r}", where="recipe", remedy=remedy)
    return (resources.files("demure_recipes") / f"{name}.yaml").read_text(encoding="utf-8")


def list_recipes() -> list[dict[str, str]]:
    """``name``, ``model`` and ``about`` of every shipped recipe."""
    rows = []
    for name in shipped_names():
        values = base = yaml.safe_load(recipe_text(name))
        while "model" not in base and "extends" in base:
            base = yaml.safe_load(recipe_text(base["extends"]))
        rows.append({"name": name, "model": base.get("model", "demure"), "about": values.get("about", "")})
    return rows


def copy_recipe(name: str, file: Path) -> Path:
    """Write a shipped recipe to ``file``, which must not exist yet."""
    text = recipe_text(name)
    if file.exists():
        raise RecipeError("already exists", where=file, remedy="choose another name")
    with atomic_file(file) as part:
        part.write_text(text, encoding="utf-8")
    return file
