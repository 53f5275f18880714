"""The recipes that ship with demure, YAML files in the package ``demure_recipes``, and those of other packages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from types import ModuleType

import yaml

from demure.errors import RecipeError
from demure.files import atomic_file
from demure.plugins import RECIPES, load_plugins, refuse_taken
from demure.suggest import did_you_mean


def shipped_names() -> list[str]:
    """Return the names of the recipes, sorted, the default first.

    Raises ``DemureError`` for a package whose recipes cannot be used.
    """
    return _default_first(_files())


def recipe_text(name: str) -> str:
    """Return the YAML of a recipe. Raises ``RecipeError`` for an unknown name."""
    files = _files()
    return _file_of(name, files).read_text(encoding="utf-8")


def _file_of(name: str, files: dict[str, Traversable]) -> Traversable:
    if name not in files:
        raise RecipeError(f"no recipe {name!r}", where="recipe", remedy=near_names(name, _default_first(files)))
    return files[name]


def _default_first(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (name != "default", name))


def _files() -> dict[str, Traversable]:
    files = _files_in("demure_recipes")
    for package in load_plugins(RECIPES).values():
        added = _files_in(package)
        refuse_taken(RECIPES, added, files)
        files |= added
    return files


def _files_in(package: ModuleType | str) -> dict[str, Traversable]:
    files = resources.files(package).iterdir()
    return {file.name.removesuffix(".yaml"): file for file in files if file.name.endswith(".yaml")}


def list_recipes() -> list[dict[str, str]]:
    """Return ``name``, ``model`` and ``about`` of every shipped recipe."""
    rows, files = [], _files()  # one search of the installed packages
    for name in _default_first(files):
        values = base = yaml.safe_load(files[name].read_text(encoding="utf-8"))
        while "model" not in base and "extends" in base:
            base = yaml.safe_load(_file_of(base["extends"], files).read_text(encoding="utf-8"))
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
