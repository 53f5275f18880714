"""Every key of a recipe as a row: for `demure recipes keys`, docs/recipes.md, and the search of `demure tune`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

import yaml

from demure.recipe.schema import OURS, Recipe

_TYPES = {bool: "true or false", int: "whole number", float: "number", str: "text", tuple[str, ...]: "list of names"}


@dataclass(frozen=True)
class Key:
    """One key, by its whole name (``training.epochs``). ``low`` and ``high`` are None where it is no number."""

    name: str
    type: str
    default: Any
    low: float | None
    high: float | None
    doc: str
    source: str = OURS

    @property
    def range(self) -> str:
        """In words; empty where there is none."""
        return "" if self.low is None else f"{short(self.low)} to {short(self.high)}"


def recipe_keys() -> list[Key]:
    """Every key but those of ``baseline``, in the order of the schema."""
    return list(_keys(Recipe, ""))


def _keys(kind: type, path: str) -> Iterator[Key]:
    hints = get_type_hints(kind)
    for one in dataclasses.fields(kind):
        name = f"{path}{one.name}"
        if dataclasses.is_dataclass(hints[one.name]):
            yield from _keys(hints[one.name], f"{name}.")
        elif hints[one.name] in _TYPES:
            told = one.metadata
            default = list(one.default) if isinstance(one.default, tuple) else one.default
            yield Key(
                name,
                _TYPES[hints[one.name]],
                default,
                told.get("low"),
                told.get("high"),
                told["doc"],
                told.get("source", OURS),
            )


def annotated(recipe: Recipe, more: Mapping[str, Key] | None = None) -> str:
    """The resolved recipe as YAML, each key with its meaning and range beside it; ``more`` are those of
    ``baseline``, by name."""
    known = {key.name: key for key in recipe_keys()} | dict(more or {})
    values = dataclasses.asdict(recipe)
    values["modalities"] = list(recipe.modalities)
    lines: list[str] = []
    for name, value in values.items():
        if not isinstance(value, dict):
            lines += _lines({name: value}, "", known, "")
        elif name != "baseline":
            lines += [f"{name}:", *_lines(value, "  ", known, f"{name}.")]
        elif more:
            options = {key.rpartition(".")[2]: value.get(key.rpartition(".")[2], more[key].default) for key in more}
            lines += [f"{name}:", *_lines(options, "  ", known, f"{name}.")]
        else:
            lines.append(f"{name}: {{}}")
    return "\n".join(lines) + "\n"


def _lines(values: Mapping[str, Any], indent: str, known: Mapping[str, Key], path: str) -> list[str]:
    """``key: value  # meaning (range)``, the comments below each other."""
    written = [f"{indent}{name}: {_yaml(value)}" for name, value in values.items()]
    width = max((len(line) for line in written if len(line) < 40), default=0)
    lines = []
    for line, name in zip(written, values, strict=True):
        key = known[f"{path}{name}"]
        told = key.doc + (f" ({key.range})" if key.range else "")
        lines.append(f"{line:<{width}}  # {told}")
    return lines


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("...\n").strip()


def table(keys: list[Key]) -> str:
    """As Markdown: key, type, default, range, meaning, source."""
    lines = ["| key | type | default | range | meaning | source |", "| --- | --- | --- | --- | --- | --- |"]
    for key in keys:
        default = "" if key.default in ("", []) else f"`{short(key.default)}`"
        lines.append(f"| `{key.name}` | {key.type} | {default} | {key.range} | {key.doc} | {key.source} |")
    return "\n".join(lines) + "\n"


def short(value: Any) -> str:
    """A number as people write it in YAML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float) and abs(value) >= 1_000_000:
        return f"{value:.0e}".replace("e+0", "e").replace("e+", "e")
    return f"{value:g}" if isinstance(value, float) else str(value)
