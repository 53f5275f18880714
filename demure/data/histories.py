"""Interactions grouped by user, and every operation on them: selecting, splitting, padding, grouping, counting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Histories:
    """Interactions grouped by user, in order of time (of the input file on ties, or without times).

    Shapes: U users, N interactions, I items, B users of a batch, T the longest history of a batch.

    ``indptr`` (U + 1,) int64: the interactions of user u are ``indptr[u]`` to before ``indptr[u + 1]``;
    ``items`` (N,) int64; ``times`` (N,) float64 seconds since 1970, or None.
    """

    indptr: np.ndarray
    items: np.ndarray
    times: np.ndarray | None = None

    @property
    def lengths(self) -> np.ndarray:
        """(U,) int64: the number of interactions of each user."""
        lengths: np.ndarray = np.diff(self.indptr)
        return lengths

    def lengths_of(self, users: np.ndarray) -> np.ndarray:
        """Return the number of interactions of ``users``, (B,) int64, without a look at other users."""
        lengths: np.ndarray = self.indptr[users + 1] - self.indptr[users]
        return lengths

    @property
    def owners(self) -> np.ndarray:
        """(N,) int64: the user of each interaction."""
        return np.repeat(np.arange(len(self.indptr) - 1), self.lengths)

    def of(self, user: int) -> np.ndarray:
        """Return the items of one user."""
        return self.items[self.indptr[user] : self.indptr[user + 1]]

    def count_items(self, n_items: int) -> np.ndarray:
        """Return the number of interactions of each item (I,) float64."""
        return np.bincount(self.items, minlength=n_items).astype(np.float64)

    def slice_users(self, first: int, stop: int) -> Histories:
        """Return the histories of users ``first`` to before ``stop``, renumbered from 0."""
        indptr = self.indptr[first : stop + 1]
        return self._take(indptr - indptr[0], slice(int(indptr[0]), int(indptr[-1])))

    def select_users(self, users: np.ndarray) -> Histories:
        """Return the histories of ``users``, renumbered from 0 in the order of ``users``."""
        lengths = self.lengths_of(users)
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        return self._take(indptr, np.repeat(self.indptr[users] - indptr[:-1], lengths) + np.arange(indptr[-1]))

    def mask_users(self, kept: np.ndarray) -> Histories:
        """Return the same users, where all but the ``kept`` users (U,) bool have an empty history."""
        indptr = np.concatenate([[0], np.cumsum(self.lengths * kept)])
        return self._take(indptr, np.repeat(kept, self.lengths))

    def split_long(self, longest: int) -> Histories:
        """Cut each history into as few parts of about equal length as ``longest`` allows.

        The interactions and their order stay; every part counts as a user of the returned histories.
        """
        lengths = self.lengths
        n_parts = np.maximum(1, -(-lengths // longest))
        user = np.repeat(np.arange(len(lengths)), n_parts)
        part = np.arange(len(user)) - (np.cumsum(n_parts) - n_parts)[user]
        start = self.indptr[user] + part * lengths[user] // n_parts[user]
        return Histories(np.append(start, self.indptr[-1]), self.items, self.times)

    def last(self, longest: int) -> Histories:
        """Return the last ``longest`` interactions of each user."""
        lengths = np.minimum(self.lengths, longest)
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        return self._take(indptr, np.repeat(self.indptr[1:] - indptr[1:], lengths) + np.arange(indptr[-1]))

    def padded(self, users: np.ndarray, longest: int | None = None) -> np.ndarray:
        """Return the items (B, T) int64 of the last ``longest`` interactions of each of ``users``, -1 after the end.

        T is the longest of these histories, and at least 1.
        """
        interactions_BT = self.interaction_indices(users, longest)
        if not len(self.items):
            return interactions_BT
        return np.where(interactions_BT >= 0, self.items[interactions_BT], -1)

    def interaction_indices(self, users: np.ndarray, longest: int | None = None) -> np.ndarray:
        """Return the index in ``items`` of every interaction of :meth:`padded`: (B, T) int64, -1 after the end."""
        stop, lengths = self.indptr[users + 1], self.lengths_of(users)
        if longest is not None:
            lengths = np.minimum(lengths, longest)
        column = np.arange(max(int(lengths.max(initial=0)), 1))
        return np.where(column < lengths[:, None], (stop - lengths)[:, None] + column, -1)

    def group_by_length(
        self, users: np.ndarray, max_cells: int, longest: int, max_users: int = 1024
    ) -> Iterator[np.ndarray]:
        """Yield groups of ``users`` of similar history length, the shortest first.

        A group has at most ``max_users`` users and B x T x T at most ``max_cells``, where histories count as at most
        ``longest`` long; a single user is a group even where it exceeds ``max_cells``.
        """
        lengths = np.minimum(self.lengths_of(users), longest)
        ordered = users[np.argsort(lengths, kind="stable")]
        lengths = np.sort(lengths, kind="stable")
        start = 0
        while start < len(ordered):
            size = max(1, min(max_users, max_cells // max(1, int(lengths[start])) ** 2))
            while size > 1 and size * max(1, int(lengths[min(start + size, len(ordered)) - 1])) ** 2 > max_cells:
                size = (size + 1) // 2
            yield ordered[start : start + size]
            start += size

    def _take(self, indptr: np.ndarray, chosen: np.ndarray | slice) -> Histories:
        return Histories(indptr, self.items[chosen], None if self.times is None else self.times[chosen])
