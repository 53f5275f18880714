"""Nested values as text: lists of genres, of images, of sentences, of ids."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

LISTS = {"genres", "genre", "categories", "category", "tags", "class", "moviegenres"}


def normalize_name(name: str) -> str:
    """Return a column's name in the form that is compared: ``userID``, ``user_id`` and ``User ID`` are the same."""
    return re.sub(r"[^0-9a-z]", "", name.lower())


def value_to_text(column: str, value: object) -> str | None:
    """Return any JSON value of ``column`` as text: of images the first, of lists see ``join_values``."""
    if value is None:
        return None
    if isinstance(value, str):
        return _replace_surrogates(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    is_image = normalize_name(column).startswith(("image", "imurl"))
    text = first_image(value) if is_image else join_values(column, value)
    return None if text is None else _replace_surrogates(text)


def nested_to_json(value: object) -> str | None:
    """Return a list or an object as JSON, and a value that MongoDB wraps, such as ``{"$oid": "5f1"}``, as itself."""
    value = _unwrap(value)
    if value is None or isinstance(value, str):
        return value if value is None else _replace_surrogates(value)
    return _replace_surrogates(json.dumps(value, ensure_ascii=False, default=_leaf_to_text))


def is_wrapped(value: object) -> bool:
    """Return whether a value is MongoDB's object around one value."""
    return isinstance(value, dict) and len(value) == 1 and str(next(iter(value))).startswith("$")


def _unwrap(value: Any) -> Any:
    if is_wrapped(value):
        return _unwrap(next(iter(value.values())))
    if isinstance(value, list | tuple):
        return [_unwrap(element) for element in value]
    if isinstance(value, float):
        return None if math.isnan(value) else int(value) if value.is_integer() else value
    return value


def _leaf_to_text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def join_values(column: str, value: object) -> str:
    """Return a list as one text: genres and categories joined by ``|``, all other columns by a space."""
    return ("|" if normalize_name(column) in LISTS else " ").join(_leaves(value))


def first_image(value: object) -> str | None:
    """Return the first of a list of images: paths, URLs, or Amazon's dicts of sizes."""
    if isinstance(value, dict):
        value = [value.get(size) for size in ("hi_res", "large", "thumb")]
    if isinstance(value, list | tuple):
        return next((image for image in map(first_image, value) if image), None)
    return value if isinstance(value, str) and value else None


def _leaves(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for element in value:
            yield from _leaves(element)
    elif value is not None and str(value).strip():
        yield str(value)


def _replace_surrogates(text: str) -> str:
    # JSON can spell half a surrogate pair, which no UTF-8 file can hold.
    if text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text):
        return text
    return text.encode("utf-8", "replace").decode()
