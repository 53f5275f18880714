"""Filters after cleaning: items without content, cores, lengths of histories; then new codes and the final order."""

from __future__ import annotations

import numpy as np

from demure.errors import DataError
from demure.preparation.interactions import Interactions
from demure.preparation.items import Items
from demure.preparation.kcore import k_core
from demure.preparation.options import PrepareOptions
from demure.preparation.problems import Findings
from demure.preparation.steps import CleaningStep, CleaningSteps


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
    record = CleaningSteps(steps)
    counts_before = np.bincount(interactions.items, minlength=len(interactions.item_ids))

    def keep(kept: np.ndarray, name: str, where: str, remedy: str) -> None:
        if not kept.any():
            raise DataError(f"no interaction is left: {name}", where=where, remedy=remedy)
        interactions.keep(kept)
        record.add(name, interactions.users, interactions.items)

    if bare is not None:
        remedy = "check the items' texts and images"
        keep(~bare[interactions.items], "item without any modality", "--bare-items drop", remedy)
    user_k, item_k = options.cores
    if user_k or item_k:
        name = f"{user_k}-core" if user_k == item_k else f"core of users {user_k}, items {item_k}"
        kept = k_core(interactions.users, interactions.items, user_k, item_k)
        if not kept.any():
            where = "--k-core" if options.user_core is options.item_core is None else "--user-core, --item-core"
            remedy = f"use less than {max(user_k, item_k)}"
            raise DataError(f"no interaction is in the {name}", where=where, remedy=remedy)
        keep(kept, name, "", "")
    if options.max_history:
        kept = _last_of_each_user(interactions, options.max_history)
        keep(kept, f"beyond the last {options.max_history} of a user", "--max-history", "")
    if options.min_history:
        kept = (np.bincount(interactions.users) >= options.min_history)[interactions.users]
        keep(kept, f"user with fewer than {options.min_history}", "--min-history", "use less")
    return _renumber(interactions, items, bare, counts_before, findings)


def _renumber(
    interactions: Interactions,
    items: Items | None,
    bare: np.ndarray | None,
    counts_before: np.ndarray,
    findings: Findings,
) -> Items:
    """Number the users and items that are left from 0, and sort the interactions by user, then time."""
    item_kept = np.bincount(interactions.items, minlength=len(interactions.item_ids)) > 0
    if items is not None:
        is_cold = counts_before == 0 if bare is None else (counts_before == 0) & ~bare
        item_kept |= is_cold
        if is_cold.any():
            findings.note(f"{int(is_cold.sum())} items without interactions are kept; they can be recommended")
    user_kept = np.bincount(interactions.users, minlength=len(interactions.user_ids)) > 0
    new_user, new_item = (np.cumsum(kept, dtype=np.int32) - np.int32(1) for kept in (user_kept, item_kept))
    items = (Items.without_file(interactions.item_ids) if items is None else items).take(np.flatnonzero(item_kept))
    interactions.users, interactions.items = new_user[interactions.users], new_item[interactions.items]
    interactions.user_ids, interactions.item_ids = interactions.user_ids[user_kept], items.ids
    interactions.keep(_order_by_user_and_time(interactions.users, interactions.times))
    return items


def _order_by_user_and_time(users: np.ndarray, times: np.ndarray | None) -> np.ndarray:
    """Return the positions (N,) int64 sorted by user, then time, then position."""
    if times is None:
        return np.argsort(users, kind="stable")
    first, last = float(times.min(initial=np.inf)), float(times.max(initial=-np.inf))
    # Whole seconds fit beside the user into one number, which takes half the time of two keys.
    if last - first < 2**32 and not (times % 1).any():
        return np.argsort((users.astype(np.int64) << 32) + (times - first).astype(np.int64), kind="stable")
    return np.lexsort((times, users))


def _last_of_each_user(interactions: Interactions, n: int) -> np.ndarray:
    """Return (N,) bool: each user's last ``n`` interactions, by time and then by position in the file."""
    order = _order_by_user_and_time(interactions.users, interactions.times)
    stop = np.cumsum(np.bincount(interactions.users))
    kept = np.empty(len(interactions), bool)
    kept[order] = stop[interactions.users[order]] - np.arange(len(interactions)) <= n
    return kept
