"""The keys of a recipe with those of its model, for `demure recipes keys` and docs/recipes.md."""

from __future__ import annotations

from pathlib import Path

from demure.baselines.options import option_keys
from demure.baselines.registry import BASELINES, LEARNED, check_model, default_options
from demure.recipe.load import load_recipe
from demure.recipe.reference import Key, annotated, recipe_keys, table


def keys_of(model: str) -> list[Key]:
    """Return the keys that a recipe of ``model`` uses. Raises ``RecipeError`` for an unknown model."""
    check_model(model)
    if model == "demure":
        return recipe_keys()
    return [*(key for key in recipe_keys() if "." not in key.name), *option_keys(default_options(model))]


def resolved_text(recipe: str | Path) -> str:
    """Return a recipe as YAML with every key, its meaning and its range."""
    resolved = load_recipe(recipe)
    return annotated(resolved, {key.name: key for key in keys_of(resolved.model) if key.name.startswith("baseline.")})


def reference() -> str:
    """Return all keys as Markdown tables, as docs/recipes.md holds them."""
    parts = ["### model: demure\n\n" + table(keys_of("demure"))]
    for model in (*BASELINES, *LEARNED):
        own = [key for key in keys_of(model) if key.name.startswith("baseline.")]
        parts.append(f"### model: {model}\n\n" + (table(own) if own else "Nothing to choose.\n"))
    return "\n".join(parts)
