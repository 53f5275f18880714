"""Interactions grouped by user, and every operation on them: selecting, padding, grouping by length, counting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Histories:
    """Interactions grouped by user, in order of time (of the input file on ties, or without times).

    ``indptr`` (U + 1,) int64; ``items`` (N,) int64; ``times`` (N,) float64 seconds since 1970, or None.
    """

    indptr: np.ndarray
    items: np.ndarray
    times: np.ndarray | None = None

    def of(self, user: int) -> np.ndarray:
        """The items of one user."""
        return self.items[self.indptr[user] : self.indptr[user + 1]]

    def between(self, first: int, stop: int) -> Histories:
        """Those of users ``first`` to before ``stop``, who become 0, 1, ..."""
        indptr = self.indptr[first : stop + 1]
        at = slice(int(indptr[0]), int(indptr[-1]))
        return Histories(indptr - indptr[0], self.items[at], None if self.times is None else self.times[at])

    def padded(self, users: np.ndarray, longest: int | None = None) -> np.ndarray:
        """(B, T) int64, -1 after the end: the last ``longest`` interactions of each of ``users``, T at least 1."""
        at = self.places(users, longest)
        return np.where(at >= 0, self.items[at], -1) if len(self.items) else at

    def places(self, users: np.ndarray, longest: int | None = None) -> np.ndarray:
        """Where those of :meth:`padded` are in ``items`` (B, T) int64, -1 after the end."""
        stop = self.indptr[users + 1]
        length = stop - self.indptr[users]
        if longest is not None:
            length = np.minimum(length, longest)
        column = np.arange(max(int(length.max(initial=0)), 1))
        return np.where(column < length[:, None], (stop - length)[:, None] + column, -1)


def by_length(
    histories: Histories, users: np.ndarray, cells: int, longest: int, most: int = 1024
) -> Iterator[np.ndarray]:
    """Groups of ``users`` of similar history length, each at most ``most`` users and about ``cells`` = B x T x T."""
    length = np.minimum(np.diff(histories.indptr)[users], longest)
    order = users[np.argsort(length, kind="stable")]
    length = np.sort(length, kind="stable")
    at = 0
    while at < len(order):
        size = max(1, min(most, cells // max(1, int(length[at])) ** 2))
        while size > 1 and size * max(1, int(length[min(at + size, len(order)) - 1])) ** 2 > cells:
            size = (size + 1) // 2
        yield order[at : at + size]
        at += size


def counts(histories: Histories, n_items: int) -> np.ndarray:
    """Interactions per item (I,) float64."""
    return np.bincount(histories.items, minlength=n_items).astype(np.float64)
