"""The built-in encoder of attributes: categories and numbers, every column with the same weight."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from demure.extraction.columns import is_numeric, number, values

ONE_HOT = 256
"""Columns with more values than this are hashed, into as many places."""
_PLACES = 4  # of a hashed value: two values share all four about once in 10^8 pairs, so that nearly all are orthogonal
_RARE = 2
_FEW_ITEMS = 50  # below it values of one item are kept, as tfidf keeps words of one text
_LIMIT = 2.0
_SKEWED = 2.0
_EXAMPLES, _SHOWN = 5, 40
Row = dict[str, str | None]


class _Block(Protocol):
    """One column: ``width`` places of the vector."""

    width: int

    def fill(self, cell: str, out: np.ndarray) -> None:
        """Write a vector of length 1 into ``out`` (width,) of zeros, or leave it zero for what is not known."""
        ...

    def facts(self) -> dict[str, Any]:
        """For the manifest."""
        ...


@dataclass(frozen=True)
class Number:
    """An angle between -90 and 90 degrees: 0 at the median, 45 at a ``spread`` above, 90 at two spreads and beyond.

    The vector (cosine, sine) has length 1 everywhere, so that a missing number, zero, differs from a typical one.
    ``log`` says that median and spread are those of the logarithm (of 1 + x where there are zeros).
    """

    median: float
    spread: float
    log: str
    width: int = 2

    def fill(self, cell: str, out: np.ndarray) -> None:
        value = number(cell)
        if value is None or not math.isfinite(value):
            return
        z = float(np.clip((_logged(value, self.log) - self.median) / self.spread, -_LIMIT, _LIMIT))
        out[:] = math.cos(z * math.pi / 4), math.sin(z * math.pi / 4)

    def facts(self) -> dict[str, Any]:
        return {"as": "number", "median": self.median, "spread": self.spread, "log": self.log}


@dataclass(frozen=True)
class Categories:
    """A place per value; the k values of a cell have 1 / sqrt(k) each."""

    places: dict[str, int]

    @property
    def width(self) -> int:
        return len(self.places)

    def fill(self, cell: str, out: np.ndarray) -> None:
        there = [self.places[value] for value in values(cell) if value in self.places]
        if there:
            out[there] = 1 / math.sqrt(len(there))

    def facts(self) -> dict[str, Any]:
        return {"as": "categories", "values": len(self.places)}


@dataclass(frozen=True)
class Hashed:
    """Categories of more values than ``ONE_HOT``: four places each, of +0.5 or -0.5, by the hash of the value."""

    known: frozenset[str]
    width: int = ONE_HOT

    def fill(self, cell: str, out: np.ndarray) -> None:
        for value in values(cell):
            if value in self.known:
                for place, sign in hashed(value):
                    out[place] += sign / math.sqrt(_PLACES)
        length = float(np.linalg.norm(out))
        if length > 0:
            out /= length

    def facts(self) -> dict[str, Any]:
        return {"as": "hashed categories", "values": len(self.known)}


class Attributes:
    """Categories and numbers side by side; a column that is missing is zero, and an item with all has length 1.

    A column is of numbers where most of its cells are (``demure.extraction.columns.is_numeric``), else of categories.
    Columns of one value are left out, and so are values that one item alone has, once there are 50 items.
    """

    batch = 512

    def __init__(self) -> None:
        self.blocks: dict[str, _Block] = {}
        self.alone: list[tuple[str, str]] = []
        self.constant: list[str] = []
        self.dim = 0

    def fit(self, rows: Sequence[Row]) -> None:
        """Learn the columns from the rows of all items that have an attribute."""
        self.blocks, self.alone, self.constant = {}, [], []
        for column in rows[0] if rows else ():
            cells = [cell for cell in (row[column] for row in rows) if cell is not None]
            block = _number(column, cells) or self._categories(column, cells, len(rows))
            if block is None:
                self.constant.append(column)
            else:
                self.blocks[column] = block
        self.dim = max(1, sum(block.width for block in self.blocks.values()))

    def _categories(self, column: str, cells: list[str], items: int) -> _Block | None:
        counts = Counter(value for cell in cells for value in values(cell))
        least = _RARE if items >= _FEW_ITEMS else 1
        known = sorted(value for value, times in counts.items() if times >= least)
        self.alone += [(column, value) for value in sorted(set(counts) - set(known))]
        if not known or (len(counts) == 1 and counts[known[0]] == items):
            return None
        if len(known) > ONE_HOT:
            return Hashed(frozenset(known))
        return Categories({value: place for place, value in enumerate(known)})

    def encode(self, rows: Sequence[Row]) -> np.ndarray:
        """(n, d) float32; zero for an item none of whose values another item has."""
        made = np.zeros((len(rows), self.dim))
        at = 0
        for column, block in self.blocks.items():
            for k, row in enumerate(rows):
                cell = row[column]
                if cell is not None:
                    block.fill(cell, made[k, at : at + block.width])
            at += block.width
        return (made / math.sqrt(max(1, len(self.blocks)))).astype(np.float32)

    def identity(self) -> dict[str, Any]:
        return {
            "version": 1,
            "dim": self.dim,
            "preprocessing": (
                f"categories one-hot, above {ONE_HOT} values hashed; numbers as angles, by median and spread"
            ),
            "columns": {column: block.facts() for column, block in self.blocks.items()},
            "constant_columns": self.constant,
            "left_out": {
                "what": "values that one item alone has",
                "remedy": "",
                "distinct": len(self.alone),
                "examples": [f"{column} {value[:_SHOWN]}" for column, value in self.alone[:_EXAMPLES]],
            },
        }


def hashed(value: str) -> list[tuple[int, int]]:
    """The places of a value, distinct, and their signs."""
    digest = hashlib.sha256(value.encode()).digest()
    found: dict[int, int] = {}
    for k in range(0, len(digest), 2):
        if len(found) < _PLACES:
            found.setdefault(digest[k] % ONE_HOT, 1 if digest[k + 1] & 1 else -1)
    return list(found.items())


def _number(column: str, cells: list[str]) -> Number | None:
    """Median and spread (half the range of the middle 68 %) of a column of numbers; None if it is not one.

    A column is taken as its logarithm where it has no negative value and reaches twice as far above its median as
    below.
    """
    if not cells or not is_numeric(column, cells):
        return None
    read = np.array([value for value in map(number, cells) if value is not None and math.isfinite(value)])
    low, median, high = np.percentile(read, [16, 50, 84])
    log = ""
    if read.min() >= 0 and high - median > _SKEWED * (median - low):
        log = "log" if read.min() > 0 else "log1p"
        read = np.array([_logged(float(value), log) for value in read])
        low, median, high = np.percentile(read, [16, 50, 84])
    spread = (high - low) / 2 or float(read.std())
    return Number(float(median), float(spread), log)


def _logged(value: float, log: str) -> float:
    if log == "log":
        return math.log(max(value, 1e-12))
    return math.log1p(max(value, 0.0)) if log == "log1p" else value
