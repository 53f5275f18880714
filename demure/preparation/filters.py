"""Filters after cleaning: items without content, cores, lengths of histories; then new codes and the final order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from demure.errors import DataError
from demure.preparation.interactions import Interactions
from demure.preparation.items import Items
from demure.preparation.kcore import k_core
from demure.preparation.options import PrepareOptions
from demure.preparation.problems import Findings
from demure.preparation.steps import CleaningStep


class Remaining(NamedTuple):
    """How many rows, users and items a filter leaves."""

    rows: int
    users: int
    items: int


class Filters(ABC):
    """The filters of ``demure prepare`` in their order; a subclass has the interactions, and counts what is left.

    ``steps``: the steps so far, to which each filter is added.
    """

    steps: list[CleaningStep]

    @abstractmethod
    def drop_bare(self, bare: np.ndarray) -> Remaining:
        """Leave out the interactions with the items ``bare`` (I,) bool."""

    @abstractmethod
    def keep_core(self, user_k: int, item_k: int) -> Remaining:
        """Keep the core in which every user has ``user_k`` interactions, and every item ``item_k``."""

    @abstractmethod
    def keep_latest(self, n: int) -> Remaining:
        """Keep the last ``n`` interactions of each user."""

    @abstractmethod
    def keep_long(self, n: int) -> Remaining:
        """Keep the users with ``n`` interactions or more."""

    def apply(self, bare: np.ndarray | None, options: PrepareOptions) -> None:
        """Filter by ``options``; ``bare`` (I,) bool: items to drop. Raises ``DataError`` if no interaction is left."""
        if bare is not None:
            where, remedy = "--bare-items drop", "check the items' texts and images"
            self._record("item without any modality", self.drop_bare(bare), where, remedy)
        user_k, item_k = options.cores
        if user_k or item_k:
            name = f"{user_k}-core" if user_k == item_k else f"core of users {user_k}, items {item_k}"
            core = self.keep_core(user_k, item_k)
            if not core.rows:
                where = "--k-core" if options.user_core is options.item_core is None else "--user-core, --item-core"
                remedy = f"use less than {max(user_k, item_k)}"
                raise DataError(f"no interaction is in the {name}", where=where, remedy=remedy)
            self._record(name, core)
        if options.max_history:
            name = f"beyond the last {options.max_history} of a user"
            self._record(name, self.keep_latest(options.max_history))
        if options.min_history:
            name = f"user with fewer than {options.min_history}"
            self._record(name, self.keep_long(options.min_history), "--min-history", "use less")

    def _record(self, name: str, left: Remaining, where: str = "", remedy: str = "") -> None:
        if not left.rows:
            raise DataError(f"no interaction is left: {name}", where=where, remedy=remedy)
        self.steps.append(CleaningStep.after(self.steps[-1], name, *left))


class FiltersInMemory(Filters):
    """Filters ``interactions`` in place."""

    def __init__(self, interactions: Interactions, steps: list[CleaningStep]) -> None:
        self.interactions, self.steps = interactions, steps

    def drop_bare(self, bare: np.ndarray) -> Remaining:
        return self._keep(~bare[self.interactions.items])

    def keep_core(self, user_k: int, item_k: int) -> Remaining:
        return self._keep(k_core(self.interactions.users, self.interactions.items, user_k, item_k))

    def keep_latest(self, n: int) -> Remaining:
        return self._keep(last_of_each_user(self.interactions, n))

    def keep_long(self, n: int) -> Remaining:
        return self._keep((np.bincount(self.interactions.users) >= n)[self.interactions.users])

    def _keep(self, kept: np.ndarray) -> Remaining:
        self.interactions.keep(kept)
        users, items = self.interactions.users, self.interactions.items
        return Remaining(len(users), *(int(np.count_nonzero(np.bincount(codes))) for codes in (users, items)))


def apply_filters(
    interactions: Interactions,
    items: Items | None,
    bare: np.ndarray | None,
    options: PrepareOptions,
    steps: list[CleaningStep],
    findings: Findings,
) -> Items:
    """Filter ``interactions`` in place, by user and then time; return their items and the items without interactions.

    ``bare`` (I,) bool: items to drop. Appends to ``steps``; raises ``DataError`` if no interaction is left.
    """
    counts_before = np.bincount(interactions.items, minlength=len(interactions.item_ids))
    FiltersInMemory(interactions, steps).apply(bare, options)
    return _renumber(interactions, items, bare, counts_before, findings)


def items_left(
    counts_before: np.ndarray, counts: np.ndarray, bare: np.ndarray | None, findings: Findings, *, has_items: bool
) -> np.ndarray:
    """Return (I,) bool: the items that have interactions, and of an items file those that never had any.

    ``counts_before``, ``counts`` (I,): the interactions of each item before the filters and after them.
    """
    kept = counts > 0
    if has_items:
        is_cold = counts_before == 0 if bare is None else (counts_before == 0) & ~bare
        kept |= is_cold
        if is_cold.any():
            findings.note(f"{int(is_cold.sum())} items without interactions are kept; they can be recommended")
    return kept


def _renumber(
    interactions: Interactions,
    items: Items | None,
    bare: np.ndarray | None,
    counts_before: np.ndarray,
    findings: Findings,
) -> Items:
    """Number the users and items that are left from 0, and sort the interactions by user, then time."""
    counts = np.bincount(interactions.items, minlength=len(interactions.item_ids))
    item_kept = items_left(counts_before, counts, bare, findings, has_items=items is not None)
    user_kept = np.bincount(interactions.users, minlength=len(interactions.user_ids)) > 0
    new_user, new_item = (np.cumsum(kept, dtype=np.int32) - np.int32(1) for kept in (user_kept, item_kept))
    items = (Items.without_file(interactions.item_ids) if items is None else items).take(np.flatnonzero(item_kept))
    interactions.users, interactions.items = new_user[interactions.users], new_item[interactions.items]
    interactions.user_ids, interactions.item_ids = interactions.user_ids[user_kept], items.ids
    interactions.keep(order_by_user_and_time(interactions.users, interactions.times))
    return items


def order_by_user_and_time(users: np.ndarray, times: np.ndarray | None) -> np.ndarray:
    """Return the positions (N,) int64 sorted by user, then time, then position."""
    if times is None:
        return np.argsort(users, kind="stable")
    first, last = float(times.min(initial=np.inf)), float(times.max(initial=-np.inf))
    # Whole seconds fit beside the user into one number, which takes half the time of two keys.
    if last - first < 2**32 and not (times % 1).any():
        return np.argsort((users.astype(np.int64) << 32) + (times - first).astype(np.int64), kind="stable")
    return np.lexsort((times, users))


def last_of_each_user(interactions: Interactions, n: int) -> np.ndarray:
    """Return (N,) bool: each user's last ``n`` interactions, by time and then by position in the file."""
    order = order_by_user_and_time(interactions.users, interactions.times)
    stop = np.cumsum(np.bincount(interactions.users))
    kept = np.empty(len(interactions), bool)
    kept[order] = stop[interactions.users[order]] - np.arange(len(interactions)) <= n
    return kept
