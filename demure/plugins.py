"""Encoders, recipes, baselines and readers that other packages add by entry points; docs/extend.md shows each.

A package names them in its ``pyproject.toml``::

    [project.entry-points."demure.extractors"]
    letters = "letters_plugin:LETTERS"  # an EncoderFamily; the name is that of the family

    [project.entry-points."demure.recipes"]
    letters = "letters_plugin.recipes"  # a package whose YAML files are recipes

    [project.entry-points."demure.baselines"]
    last-item = "letters_plugin:LAST_ITEM"  # an Entry or a LearnedEntry; the name is the ``model`` of recipes

    [project.entry-points."demure.readers"]
    arrows = "letters_plugin:read_arrows"  # a function from a path to a table; the name is that of the format
"""

from __future__ import annotations

from collections.abc import Collection
from importlib import metadata
from typing import Any

from demure.errors import DemureError

EXTRACTORS, RECIPES = "demure.extractors", "demure.recipes"
BASELINES, READERS = "demure.baselines", "demure.readers"


def load_plugins(group: str) -> dict[str, Any]:
    """Return what each installed entry point of the ``group`` names, by its name, sorted.

    Raises ``DemureError`` for one that cannot be imported, and for a name that two packages use.
    """
    loaded: dict[str, Any] = {}
    for entry in sorted(metadata.entry_points(group=group), key=lambda entry: entry.name):
        if entry.name in loaded:
            raise DemureError(f"two packages add {entry.name!r}", where=group, remedy=f"uninstall {_package(entry)}")
        try:
            loaded[entry.name] = entry.load()
        except Exception as error:  # whatever a foreign module raises when it is imported
            reason = f"{type(error).__name__}: {error}"
            remedy = f"repair or uninstall {_package(entry)}"
            raise DemureError(f"{entry.value} cannot be loaded ({reason})", where=group, remedy=remedy) from error
    return loaded


def refuse_taken(group: str, names: Collection[str], taken: Collection[str]) -> None:
    """Raise ``DemureError`` if one of the ``names`` that packages add is already ``taken``."""
    for name in sorted(set(names) & set(taken)):
        raise DemureError(f"a package adds {name!r}, which demure has", where=group, remedy="rename it in that package")


def _package(entry: metadata.EntryPoint) -> str:
    return f"the package {entry.dist.name}" if entry.dist is not None else "its package"
