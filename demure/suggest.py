"""Names near a misspelt one, for "did you mean NAME?" in error messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from demure.errors import DataError


def nearest_names(name: str, names: Iterable[str], count: int, cutoff: float = 0.6) -> list[str]:
    """Return at most ``count`` of ``names`` by similarity to ``name``; ``cutoff`` in [0, 1] is the least similarity."""
    return difflib.get_close_matches(name, list(names), n=count, cutoff=cutoff)


def nearest(name: str, names: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the one of ``names`` that is most similar to ``name``, or None."""
    return next(iter(nearest_names(name, names, 1, cutoff)), None)


def did_you_mean(name: str, names: Iterable[str], cutoff: float = 0.6) -> str | None:
    """Return the remedy "did you mean NAME?", or None where no name is similar."""
    similar = nearest(name, names, cutoff)
    return None if similar is None else f"did you mean {similar}?"


def check_choice(value: str, allowed: Sequence[str], where: str) -> None:
    """Raise ``DataError`` with a suggestion if ``value`` is not one of ``allowed``."""
    if value not in allowed:
        suggestion = did_you_mean(value, allowed)
        hint = f"; {suggestion}" if suggestion else ""
        raise DataError(f"unknown value {value!r}{hint}", where=where, remedy=f"use one of {', '.join(allowed)}")
