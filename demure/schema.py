"""Build the dataclass of a manifest from parsed JSON: every key is checked against the type of its field."""

from __future__ import annotations

import dataclasses
import functools
import types
from collections.abc import Collection, Mapping
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
_NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


class SchemaError(ValueError):
    """A key that is missing, or a value of another type; the message names the key."""


def build(kind: type[T], values: Any, path: str = "", *, skip: Collection[str] = ()) -> T:
    """Return the dataclass ``kind`` from an object of parsed JSON; keys without a field are ignored.

    ``path`` is the dotted key of ``values``; ``skip`` are fields that are no keys. Raises ``SchemaError``.
    """
    if not isinstance(values, Mapping):
        raise SchemaError(f"{path or 'the file'} is {_shown(values)}, not an object")
    hints, arguments = _hints(kind), {}  # type: ignore[arg-type]
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        if field.name in skip:
            continue
        key = f"{path}.{field.name}" if path else field.name
        if field.name in values:
            arguments[field.name] = _value(hints[field.name], values[field.name], key)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise SchemaError(f"{key} is missing")
    return kind(**arguments)


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _value(hint: Any, value: Any, key: str) -> Any:
    """Return ``value`` as the type ``hint``."""
    origin, inner = get_origin(hint) or hint, get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        return _value(next(option for option in inner if option is not type(None)), value, key)
    if dataclasses.is_dataclass(hint):
        return build(hint, value, key)  # type: ignore[arg-type]
    accepted: Any = (int, float) if origin is float else origin
    if not isinstance(value, accepted) or (isinstance(value, bool) and origin is not bool):
        raise SchemaError(f"{key} is {_shown(value)}, not {_NAMES[origin]}")
    if origin is list:
        return [_value(inner[0], entry, f"{key}[{number}]") for number, entry in enumerate(value)]
    if origin is dict:
        return {name: _value(inner[1], entry, f"{key}.{name}") for name, entry in value.items()}
    return value


def _shown(value: Any) -> str:
    """Return a value as JSON names it, short."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | Mapping):
        return _NAMES[list if isinstance(value, list) else dict]
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
