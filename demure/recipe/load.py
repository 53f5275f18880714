"""Read a recipe from YAML and ``key=value`` overrides; every refusal names the key, the value and the remedy."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from demure.errors import RecipeError
from demure.progress import Listener, Notice, silent
from demure.recipe.aliases import current_name, with_current_names
from demure.recipe.schema import Recipe
from demure.recipe.shipped import near_names, recipe_text, shipped_names

Note = Callable[[str], None]


def load_recipe(recipe: str | Path, overrides: Sequence[str] = (), *, listener: Listener = silent) -> Recipe:
    """Return ``recipe`` (the name of a shipped one or a YAML file) with ``a.b=value`` overrides applied.

    ``extends: NAME`` in a file starts from a shipped recipe or another file, whose path is relative to that file.
    Former names of keys keep working; ``listener`` gets one ``Notice`` for each. Raises ``RecipeError`` for an unknown
    name or key, and for a value of the wrong type or out of range.
    """
    noted: set[str] = set()

    def note(text: str) -> None:
        if text not in noted:
            noted.add(text)
            listener(Notice("read recipe", 0, text=text))

    values = _read(str(recipe), note, ancestors=())
    for override in overrides:
        _override(values, override, note)
    resolved: Recipe = _build(Recipe, values, "")
    return resolved


def _override(values: dict[str, Any], override: str, note: Note) -> None:
    """Set one ``a.b=value`` in ``values``."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise RecipeError(f"{override!r} is not KEY=VALUE", where="--set", remedy="for example denoiser.clusters=24")
    key = key.strip()
    name = current_name(key)
    if name != key:
        note(f"{key} is now {name}")
    section: Any = values
    *parents, last = name.split(".")
    for parent in parents:
        section = section.setdefault(parent, {})
        if not isinstance(section, dict):
            raise RecipeError(f"{parent!r} holds no keys", where=f"--set {key}", remedy="see `demure recipes show`")
    try:
        section[last] = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise RecipeError(f"{text!r} cannot be read", where=f"--set {key}", remedy="quote it") from error


def to_yaml(recipe: Recipe) -> str:
    """Return the resolved recipe as YAML that :func:`load_recipe` reads back to an equal recipe."""
    values = dataclasses.asdict(recipe)
    values["modalities"] = list(recipe.modalities)
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    # PyYAML writes Unicode's own line breaks unescaped, and reads them back as spaces.
    broken = any(mark in text for mark in "\x85\u2028\u2029")
    return yaml.safe_dump(values, sort_keys=False) if broken else text


def _read(recipe: str, note: Note, ancestors: tuple[str, ...], where: object = "--recipe") -> dict[str, Any]:
    """Return the keys of a recipe and of all recipes that it extends. ``where`` names the origin of the request."""
    if recipe in ancestors:
        circle = " -> ".join((*ancestors, recipe))
        raise RecipeError(f"extends itself ({circle})", where=recipe, remedy="break the circle")
    path = Path(recipe)
    if recipe in shipped_names():
        text = recipe_text(recipe)
    elif path.suffix in (".yaml", ".yml") or path.exists():
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"cannot be read ({error})", where=path) from error
    else:
        raise RecipeError(f"no recipe {recipe!r}", where=where, remedy=near_names(recipe, shipped_names()))
    try:
        values = yaml.safe_load(text)
    except RecursionError as error:
        raise RecipeError("is not a recipe (too deeply nested)", where=recipe) from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2020-13-45
        raise RecipeError(f"is not YAML ({error})", where=recipe) from error
    if not isinstance(values, dict):
        raise RecipeError("holds no keys", where=recipe, remedy="`demure recipes copy default FILE` writes a start")
    values = with_current_names(values, recipe, note)
    if "extends" not in values:
        return values
    base = values.pop("extends")
    if not isinstance(base, str):
        remedy = "name one recipe that ships, or one YAML file"
        raise RecipeError(f"extends is {base!r}", where=recipe, remedy=remedy)
    if base not in shipped_names():  # the path of a file is relative to the file that names it
        base = str(path.parent / base) if Path(base).suffix in (".yaml", ".yml") else base
    return _merge(_read(base, note, (*ancestors, recipe), where=f"{recipe}, extends"), values)


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in over.items():
        nested = isinstance(value, Mapping) and isinstance(base.get(key), dict)
        base[key] = _merge(base[key], value) if nested else value
    return base


def _build(kind: type, values: Any, path: str) -> Any:
    """Return a dataclass ``kind`` from ``values``, the part of the recipe at ``path``."""
    if not isinstance(values, Mapping):
        raise RecipeError(f"is {values!r}", where=path or "recipe", remedy="give its keys, indented below it")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = get_type_hints(kind)
    arguments = {}
    for key, value in values.items():
        where = f"{path}.{key}" if path else str(key)
        if key not in fields:
            raise RecipeError(f"unknown key {key!r}", where=where, remedy=near_names(str(key), list(fields)))
        arguments[key] = _value(hints[key], value, fields[key].metadata, where)
    return kind(**arguments)


def _value(hint: Any, value: Any, metadata: Mapping[str, Any], where: str) -> Any:
    """Return ``value`` as the type ``hint`` of the key at ``where``."""
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, where)  # type: ignore[arg-type]
    if hint is bool or hint is str:
        if not isinstance(value, hint):
            expected = "true or false" if hint is bool else "text"
            raise RecipeError(f"{value!r} is not {expected}", where=where)
        return value
    if hint is int or hint is float:
        value = _number(value) if hint is float else value
        if isinstance(value, bool) or not isinstance(value, int if hint is int else (int, float)):
            raise RecipeError(f"{value!r} is not {'a whole number' if hint is int else 'a number'}", where=where)
        if not metadata["low"] <= value <= metadata["high"]:
            raise RecipeError(
                f"{value} is out of range", where=where, remedy=f"{metadata['low']} to {metadata['high']}"
            )
        return hint(value)
    if hint == tuple[str, ...]:
        names = [value] if isinstance(value, str) else value
        if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
            raise RecipeError(f"{value!r} is not a list of names", where=where, remedy="for example [image, text]")
        return tuple(names)
    if not isinstance(value, Mapping):
        raise RecipeError(f"is {value!r}", where=where, remedy="give its keys, indented below it")
    numbers = {key: _number(number) for key, number in value.items()}
    for key, number in numbers.items():
        if isinstance(number, str):
            raise RecipeError(f"{number!r} is not a number", where=f"{where}.{key}")
    return numbers


def _number(value: Any) -> Any:
    """Return ``value``, or as a float the number that it spells: YAML reads 1e-3 as text."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return float(value)
    return value
