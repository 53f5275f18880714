"""Medians and other places in the order of numbers that lie in parts, exactly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

_BITS = 16


@dataclass(frozen=True)
class Borders:
    """Where ``n`` numbers lie beside ascending thresholds (T,), so that their median can be compared with each.

    Attributes:
        below: (T,) how many numbers are less than each threshold; ``before`` (T,) the greatest of these.
        after: (T,) the least number that is not less.
        least, most: of all numbers.
    """

    thresholds: np.ndarray
    n: int
    below: np.ndarray
    before: np.ndarray
    after: np.ndarray
    least: float
    most: float

    @classmethod
    def of(cls, values: np.ndarray, thresholds: Sequence[float]) -> Borders:
        """Return the borders of ``values`` (N,), without NaN."""
        is_below = [values < threshold for threshold in thresholds]
        return cls(
            np.array(thresholds, dtype=np.float64),
            len(values),
            np.array([np.count_nonzero(mask) for mask in is_below]),
            np.array([values[mask].max(initial=-np.inf) for mask in is_below]),
            np.array([values[~mask].min(initial=np.inf) for mask in is_below]),
            float(values.min(initial=np.inf)),
            float(values.max(initial=-np.inf)),
        )

    @classmethod
    def together(cls, parts: Sequence[Borders]) -> Borders:
        """Return the borders of the numbers of all ``parts``, at least one."""
        return cls(
            parts[0].thresholds,
            sum(part.n for part in parts),
            np.sum([part.below for part in parts], axis=0),
            np.max([part.before for part in parts], axis=0),
            np.min([part.after for part in parts], axis=0),
            min(part.least for part in parts),
            max(part.most for part in parts),
        )

    def median(self) -> float:
        """Return a number that lies as the median does beside each threshold: the last one that is not above it.

        The median of an even number of values is the mean of the two in the middle.
        """
        low, high = (self.n - 1) // 2, self.n // 2
        is_reached = self.below <= low
        between = ~is_reached & (self.below <= high)
        is_reached[between] = (self.before[between] + self.after[between]) / 2 >= self.thresholds[between]
        reached = self.thresholds[is_reached]
        return float(reached[-1] if len(reached) else np.nextafter(self.thresholds[0], -np.inf))


Counter = Callable[[tuple[int, ...], int], np.ndarray]


def values_at(positions: Sequence[int], n: int, count: Counter) -> np.ndarray:
    """Return the numbers at ``positions`` in the order of all ``n``; infinity for the position ``n``.

    ``count(prefixes, digit)``: for each of the prefixes of ``digit`` digits, (2 ** 16,) how many numbers that begin
    with it have each next digit, by ``count_digits``.
    """
    targets = [position for position in positions if position < n]
    prefixes, ranks = [0] * len(targets), list(targets)
    for digit in range(64 // _BITS if targets else 0):
        counts = count(tuple(prefixes), digit)
        for k, rank in enumerate(ranks):
            reached = np.cumsum(counts[k])
            next_digit = int(np.searchsorted(reached, rank, side="right"))
            ranks[k] = rank - (int(reached[next_digit - 1]) if next_digit else 0)
            prefixes[k] = prefixes[k] << _BITS | next_digit
    value_at = dict(zip(targets, _from_keys(np.array(prefixes, np.uint64)), strict=True))
    return np.array([value_at.get(position, np.inf) for position in positions])


def count_digits(values: np.ndarray, prefixes: tuple[int, ...], digit: int) -> np.ndarray:
    """Return (len(prefixes), 2 ** 16): how many of ``values`` (N,) that begin with a prefix have each next digit."""
    keys = _keys(values)
    shift = np.uint64(64 - _BITS * (digit + 1))
    digits = (keys >> shift & np.uint64((1 << _BITS) - 1)).astype(np.int64)
    counts = np.zeros((len(prefixes), 1 << _BITS), np.int64)
    for k, prefix in enumerate(prefixes):
        own = digits if digit == 0 else digits[keys >> (shift + np.uint64(_BITS)) == np.uint64(prefix)]
        counts[k] = np.bincount(own, minlength=1 << _BITS)
    return counts


def _keys(values: np.ndarray) -> np.ndarray:
    """Return whole numbers (N,) uint64 in the order of the floats ``values``."""
    bits = np.ascontiguousarray(values, np.float64).view(np.uint64)
    sign = np.uint64(1) << np.uint64(63)
    return np.where(bits & sign, ~bits, bits | sign)


def _from_keys(keys: np.ndarray) -> np.ndarray:
    sign = np.uint64(1) << np.uint64(63)
    return np.where(keys & sign, keys & ~sign, ~keys).astype(np.uint64).view(np.float64)
