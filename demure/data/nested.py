"""Nested values as text: lists of genres, of images, of sentences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

LISTS = {"genres", "genre", "categories", "category", "tags", "class", "moviegenres"}


def simple(name: str) -> str:
    """A column's name as it is compared: ``userID``, ``user_id`` and ``User ID`` are the same."""
    return re.sub(r"[^0-9a-z]", "", name.lower())


def flat(key: str, value: Any) -> str | None:
    """Any JSON value as text; of images the first; of lists see ``flatten``."""
    if value is None:
        return None
    if isinstance(value, str):
        return _sound(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    found = first_image(value) if simple(key).startswith(("image", "imurl")) else flatten(key, value)
    return None if found is None else _sound(found)


def flatten(key: str, value: Any) -> str:
    """A list as one text: genres and categories joined by ``|``, everything else by a space."""
    return ("|" if simple(key) in LISTS else " ").join(_leaves(value))


def first_image(value: Any) -> str | None:
    """The first of a list of images: paths, URLs, or Amazon's dicts of sizes."""
    if isinstance(value, dict):
        for size in ("hi_res", "large", "thumb"):
            if found := first_image(value.get(size)):
                return found
        return None
    if isinstance(value, list | tuple):
        return next((found for found in map(first_image, value) if found), None)
    return value if isinstance(value, str) and value else None


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from _leaves(one)
    elif value is not None and str(value).strip():
        yield str(value)


def _sound(value: str) -> str:
    # JSON can spell half a surrogate pair, which no UTF-8 file can hold.
    if value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value):
        return value
    return value.encode("utf-8", "replace").decode()
