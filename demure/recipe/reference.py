"""Every key of a recipe as a row: for `demure recipes keys`, docs/recipes.md, and the search of `demure tune`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

import yaml

from demure.recipe.schema import OURS, Recipe

_TYPES = {bool: "true or false", int: "whole number", float: "number", str: "text", tuple[str, ...]: "list of names"}
_COMMENT_COLUMN = 40  # longest line whose comment is aligned with the others


@dataclass(frozen=True)
class Key:
    """One key by its full name (``training.epochs``). ``low`` and ``high`` are None where it is not a number."""

    name: str
    type: str
    default: Any
    low: float | None
    high: float | None
    doc: str
    source: str = OURS

    @property
    def range(self) -> str:
        """The range in words; empty where there is none."""
        return "" if self.low is None else f"{short(self.low)} to {short(self.high)}"


def recipe_keys() -> list[Key]:
    """Return every key in the order of the schema, without those below ``baseline``."""
    return list(_keys(Recipe, ""))


def _keys(kind: type, path: str) -> Iterator[Key]:
    hints = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        name, hint, metadata = f"{path}{field.name}", hints[field.name], field.metadata
        if dataclasses.is_dataclass(hint):
            yield from _keys(hint, f"{name}.")  # type: ignore[arg-type]
        elif hint in _TYPES:
            default = list(field.default) if isinstance(field.default, tuple) else field.default
            low, high = metadata.get("low"), metadata.get("high")
            yield Key(name, _TYPES[hint], default, low, high, metadata["doc"], metadata.get("source", OURS))


def annotated(recipe: Recipe, baseline_keys: Mapping[str, Key] | None = None) -> str:
    """Return the resolved recipe as YAML with the meaning and range of each key beside it.

    ``baseline_keys``: the keys below ``baseline`` by full name; None leaves that section empty.
    """
    keys = {key.name: key for key in recipe_keys()} | dict(baseline_keys or {})
    values = dataclasses.asdict(recipe)
    values["modalities"] = list(recipe.modalities)
    lines: list[str] = []
    for name, value in values.items():
        if not isinstance(value, dict):
            lines += _lines({name: value}, "", keys, "")
        elif name != "baseline":
            lines += [f"{name}:", *_lines(value, "  ", keys, f"{name}.")]
        elif baseline_keys:
            options = {key.rpartition(".")[2]: key for key in baseline_keys}
            chosen = {option: value.get(option, baseline_keys[key].default) for option, key in options.items()}
            lines += [f"{name}:", *_lines(chosen, "  ", keys, f"{name}.")]
        else:
            lines.append(f"{name}: {{}}")
    return "\n".join(lines) + "\n"


def _lines(values: Mapping[str, Any], indent: str, keys: Mapping[str, Key], path: str) -> list[str]:
    """Return a line ``key: value  # meaning (range)`` for each value, the comments aligned."""
    written = [f"{indent}{name}: {_yaml(value)}" for name, value in values.items()]
    width = max((len(line) for line in written if len(line) < _COMMENT_COLUMN), default=0)
    lines = []
    for line, name in zip(written, values, strict=True):
        key = keys[f"{path}{name}"]
        meaning = key.doc + (f" ({key.range})" if key.range else "")
        lines.append(f"{line:<{width}}  # {meaning}")
    return lines


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()


def table(keys: list[Key]) -> str:
    """Return a Markdown table: key, type, default, range, meaning, source."""
    lines = ["| key | type | default | range | meaning | source |", "| --- | --- | --- | --- | --- | --- |"]
    for key in keys:
        default = "" if key.default in ("", []) else f"`{short(key.default)}`"
        lines.append(f"| `{key.name}` | {key.type} | {default} | {key.range} | {key.doc} | {key.source} |")
    return "\n".join(lines) + "\n"


def short(value: Any) -> str:
    """Return a number as people write it in YAML, other values as text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float) and abs(value) >= 1_000_000:
        return f"{value:.0e}".replace("e+0", "e").replace("e+", "e")
    return f"{value:g}" if isinstance(value, float) else str(value)
