"""The built-in encoder of attributes: categories and numbers, every column with the same weight.

Shapes: n items, D dimensions, width of a column's part of the vector.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from demure.extraction.columns import is_numeric, parse_number, split_categories

ONE_HOT = 256
"""Columns with more values than this are hashed, into as many places."""
_PLACES = 4  # of a hashed value: two values share all four about once in 10^8 pairs, so that nearly all are orthogonal
_MIN_ITEMS = 2  # that have a value; rarer values are left out
_FEW_ITEMS = 50  # in a catalogue below this size all values are kept, as tfidf keeps words of one text
_LIMIT = 2.0  # spreads from the median, where the angle reaches 90 degrees
_SKEWED = 2.0  # times as far above the median as below: amounts are taken as logarithms
_EXAMPLES, _SHOWN = 5, 40
Row = dict[str, str | None]


class _ColumnEncoding(Protocol):
    """The encoding of one column, in ``width`` places of the vector."""

    @property
    def width(self) -> int: ...

    def fill(self, value: str, out: np.ndarray) -> None:
        """Write a vector of length 1 into ``out`` (width,), which is zero, or leave it zero for an unknown value."""
        ...

    def facts(self) -> dict[str, Any]:
        """Return what the manifest records."""
        ...


@dataclass(frozen=True)
class NumberEncoding:
    """A number as an angle from -90 to 90 degrees: 0 at the median, 45 a ``spread`` above it, 90 from two spreads on.

    The vector (cosine, sine) has length 1 everywhere, so that a missing number, zero, differs from a typical one.
    ``log`` is ``"log"`` or ``"log1p"`` (where there are zeros) if median and spread are of the logarithm, else empty.
    """

    median: float
    spread: float
    log: str
    width: int = 2

    def fill(self, value: str, out: np.ndarray) -> None:
        number = parse_number(value)
        if number is None or not math.isfinite(number):
            return
        z = float(np.clip((_logarithm(number, self.log) - self.median) / self.spread, -_LIMIT, _LIMIT))
        out[:] = math.cos(z * math.pi / 4), math.sin(z * math.pi / 4)

    def facts(self) -> dict[str, Any]:
        return {"as": "number", "median": self.median, "spread": self.spread, "log": self.log}


@dataclass(frozen=True)
class OneHotEncoding:
    """A place per category; the k categories of one item have 1 / sqrt(k) each."""

    places: dict[str, int]

    @property
    def width(self) -> int:
        return len(self.places)

    def fill(self, value: str, out: np.ndarray) -> None:
        places = [self.places[category] for category in split_categories(value) if category in self.places]
        if places:
            out[places] = 1 / math.sqrt(len(places))

    def facts(self) -> dict[str, Any]:
        return {"as": "categories", "values": len(self.places)}


@dataclass(frozen=True)
class HashedEncoding:
    """More categories than ``ONE_HOT``: four places each, of +0.5 or -0.5, by the hash of the category."""

    categories: frozenset[str]
    width: int = ONE_HOT

    def fill(self, value: str, out: np.ndarray) -> None:
        for category in split_categories(value):
            if category in self.categories:
                for place, sign in hash_places(category):
                    out[place] += sign / math.sqrt(_PLACES)
        length = float(np.linalg.norm(out))
        if length > 0:
            out /= length

    def facts(self) -> dict[str, Any]:
        return {"as": "hashed categories", "values": len(self.categories)}


class Attributes:
    """An attribute encoder (``demure.extraction.protocol``): categories and numbers side by side.

    A column holds numbers if most of its values are numbers (``demure.extraction.columns.is_numeric``), else
    categories. A missing value is zero, and an item with all columns has length 1. Columns of one value are left out,
    and so are categories of a single item, once there are 50 items.

    Attributes:
        blocks: column -> its encoding, in the order of the vector.
        alone: (column, category) of a single item, which are left out.
        constant: columns of one value, which are left out.
    """

    batch = 512

    def __init__(self) -> None:
        self.blocks: dict[str, _ColumnEncoding] = {}
        self.alone: list[tuple[str, str]] = []
        self.constant: list[str] = []
        self.dim = 0

    def fit(self, rows: Sequence[Row]) -> None:
        """Choose the encoding of each column from the rows of all items that have an attribute."""
        self.blocks, self.alone, self.constant = {}, [], []
        for column in rows[0] if rows else ():
            values = [value for value in (row[column] for row in rows) if value is not None]
            block: _ColumnEncoding | None = _number_encoding(column, values)
            block = block or self._category_encoding(values, column, len(rows))
            if block is None:
                self.constant.append(column)
            else:
                self.blocks[column] = block
        self.dim = max(1, sum(block.width for block in self.blocks.values()))

    def _category_encoding(self, values: list[str], column: str, items: int) -> _ColumnEncoding | None:
        counts = Counter(category for value in values for category in split_categories(value))
        least = _MIN_ITEMS if items >= _FEW_ITEMS else 1
        frequent = sorted(category for category, count in counts.items() if count >= least)
        self.alone += [(column, category) for category in sorted(set(counts) - set(frequent))]
        if not frequent or (len(counts) == 1 and counts[frequent[0]] == items):
            return None
        if len(frequent) > ONE_HOT:
            return HashedEncoding(frozenset(frequent))
        return OneHotEncoding({category: place for place, category in enumerate(frequent)})

    def encode(self, rows: Sequence[Row]) -> np.ndarray:
        """Return (n, D) float32; zero for an item that shares no value with another item."""
        vectors = np.zeros((len(rows), self.dim))
        start = 0
        for column, block in self.blocks.items():
            for k, row in enumerate(rows):
                value = row[column]
                if value is not None:
                    block.fill(value, vectors[k, start : start + block.width])
            start += block.width
        return (vectors / math.sqrt(max(1, len(self.blocks)))).astype(np.float32)

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


def hash_places(category: str) -> list[tuple[int, int]]:
    """Return the places of a category, all different, each with its sign."""
    digest = hashlib.sha256(category.encode()).digest()
    places: dict[int, int] = {}
    for k in range(0, len(digest), 2):
        if len(places) < _PLACES:
            places.setdefault(digest[k] % ONE_HOT, 1 if digest[k + 1] & 1 else -1)
    return list(places.items())


def _number_encoding(column: str, values: list[str]) -> NumberEncoding | None:
    """Return the encoding by median and spread, half the range of the middle 68 %; None if the column is not numeric.

    Numbers are taken as logarithms if none is negative and they reach twice as far above their median as below.
    """
    if not values or not is_numeric(column, values):
        return None
    numbers = np.array([number for number in map(parse_number, values) if number is not None and math.isfinite(number)])
    low, median, high = np.percentile(numbers, [16, 50, 84])
    log = ""
    if numbers.min() >= 0 and high - median > _SKEWED * (median - low):
        log = "log" if numbers.min() > 0 else "log1p"
        numbers = np.array([_logarithm(float(number), log) for number in numbers])
        low, median, high = np.percentile(numbers, [16, 50, 84])
    spread = (high - low) / 2 or float(numbers.std())
    return NumberEncoding(float(median), float(spread), log)


def _logarithm(number: float, log: str) -> float:
    if log == "log":
        return math.log(max(number, 1e-12))
    return math.log1p(max(number, 0.0)) if log == "log1p" else number
