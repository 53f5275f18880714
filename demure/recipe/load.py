"""YAML and ``key=value`` overrides into a recipe; every refusal names the key, the value and what would do."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from demure.errors import RecipeError
from demure.recipe.schema import Recipe
from demure.recipe.shipped import recipe_text, shipped_names
from demure.suggest import did_you_mean


def load_recipe(recipe: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe ``recipe`` (a name that ships or a YAML file) with ``a.b=value`` overrides applied.

    ``extends: NAME`` in a file starts from a shipped recipe, or from another file, found from that one. Raises
    ``RecipeError`` for an unknown name or key, a value of the wrong type or out of range.
    """
    values = _read(str(recipe), seen=())
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key:
            raise RecipeError(f"{override!r} is not KEY=VALUE", where="--set", remedy="for example denoiser.themes=24")
        target: Any = values
        *parents, last = key.strip().split(".")
        for parent in parents:
            target = target.setdefault(parent, {})
            if not isinstance(target, dict):
                raise RecipeError(f"{parent!r} holds no keys", where=f"--set {key}", remedy="see `demure recipes show`")
        try:
            target[last] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise RecipeError(f"{text!r} cannot be read", where=f"--set {key}", remedy="quote it") from error
    return _build(Recipe, values, "")


def to_yaml(recipe: Recipe) -> str:
    """The resolved recipe as YAML that :func:`load_recipe` reads back to an equal one."""
    values = dataclasses.asdict(recipe)
    values["modalities"] = list(recipe.modalities)
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    # PyYAML leaves Unicode's own line breaks bare, and reads them back as spaces.
    broken = any(mark in text for mark in "\x85\u2028\u2029")
    return yaml.safe_dump(values, sort_keys=False) if broken else text


def _read(recipe: str, seen: tuple[str, ...], where: object = "--recipe") -> dict[str, Any]:
    """The keys of a recipe and of all that it extends. ``where`` says who asked for it, for a refusal."""
    if recipe in seen:
        raise RecipeError(f"extends itself ({' -> '.join((*seen, recipe))})", where=recipe, remedy="break the circle")
    path = Path(recipe)
    if recipe in shipped_names():
        text = recipe_text(recipe)
    elif path.suffix in (".yaml", ".yml") or path.exists():
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"cannot be read ({error})", where=path) from error
    else:
        raise RecipeError(f"no recipe {recipe!r}", where=where, remedy=_nearest(recipe, shipped_names()))
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"is not YAML ({error})", where=recipe) from error
    if not isinstance(values, dict):
        raise RecipeError("holds no keys", where=recipe, remedy="`demure recipes copy default FILE` writes a start")
    if "extends" not in values:
        return values
    base = values.pop("extends")
    if not isinstance(base, str):
        remedy = "name one recipe that ships, or one YAML file"
        raise RecipeError(f"extends is {base!r}", where=recipe, remedy=remedy)
    if base not in shipped_names():  # a file is found from the file that names it
        base = str(path.parent / base) if Path(base).suffix in (".yaml", ".yml") else base
    return _merge(_read(base, (*seen, recipe), where=f"{recipe}, extends"), values)


def _merge(base: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in over.items():
        nested = isinstance(value, Mapping) and isinstance(base.get(key), dict)
        base[key] = _merge(base[key], value) if nested else value
    return base


def _build(kind: type, values: Any, path: str) -> Any:
    if not isinstance(values, Mapping):
        raise RecipeError(f"is {values!r}", where=path or "recipe", remedy="give its keys, indented below it")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = get_type_hints(kind)
    made = {}
    for key, value in values.items():
        where = f"{path}.{key}" if path else str(key)
        if key not in fields:
            raise RecipeError(f"unknown key {key!r}", where=where, remedy=_nearest(str(key), list(fields)))
        made[key] = _value(hints[key], value, fields[key].metadata, where)
    return kind(**made)


def _value(hint: Any, value: Any, metadata: Mapping[str, Any], where: str) -> Any:
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
    """``value``, or the number that it says: YAML reads 1e-3 as text."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return float(value)
    return value


def _nearest(word: str, known: Sequence[str]) -> str:
    return did_you_mean(word, known) or f"known: {', '.join(known)}"
