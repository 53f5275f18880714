"""Nearest names for "did you mean"."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from demure.errors import DataError


def nearest(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The name of ``known`` most like ``name``, or None; ``cutoff`` in [0, 1] is the least similarity."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1, cutoff=cutoff)), None)


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The remedy "did you mean NAME?", or None where no name of ``known`` is near."""
    near = nearest(name, known, cutoff)
    return None if near is None else f"did you mean {near}?"


def check_choice(value: str, allowed: tuple[str, ...], where: str) -> None:
    """Raise ``DataError`` with a suggestion if ``value`` is not one of ``allowed``."""
    if value not in allowed:
        near = did_you_mean(value, allowed)
        hint = f"; {near}" if near else ""
        raise DataError(f"unknown value {value!r}{hint}", where=where, remedy=f"use one of {', '.join(allowed)}")
