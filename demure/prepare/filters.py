"""From what is clean to what is kept: items with content, cores, lengths of histories; then codes and order anew."""

from __future__ import annotations

import numpy as np

from demure.errors import DataError
from demure.prepare.cleaning import Step, Steps
from demure.prepare.interactions import Interactions
from demure.prepare.items import Items
from demure.prepare.kcore import k_core
from demure.prepare.options import PrepareOptions
from demure.prepare.problems import Findings


def filtered(
    them: Interactions, items: Items | None, bare: np.ndarray | None, options: PrepareOptions, taken: list[Step],
    findings: Findings,
) -> Items:  # fmt: skip
    """Leave of ``them`` what is to be kept, by user and then time; return the items that are left or never had anyone.

    ``bare`` (I,) bool: items to drop. Adds to the steps ``taken``; raises ``DataError`` if nothing is left.
    """
    steps = Steps(taken)
    before = np.bincount(them.items, minlength=len(them.item_ids))

    def only(kept: np.ndarray, name: str, where: str, remedy: str) -> None:
        if not kept.any():
            raise DataError(f"no interaction is left: {name}", where=where, remedy=remedy)
        them.keep(kept)
        steps.add(name, them.users, them.items)

    if bare is not None:
        only(~bare[them.items], "item without any modality", "--bare-items drop", "check the items' texts and images")
    user_k, item_k = options.cores
    if user_k or item_k:
        name = f"{user_k}-core" if user_k == item_k else f"core of users {user_k}, items {item_k}"
        kept = k_core(them.users, them.items, user_k, item_k)
        if not kept.any():
            where = "--k-core" if options.user_core is options.item_core is None else "--user-core, --item-core"
            remedy = f"use less than {max(user_k, item_k)}"
            raise DataError(f"no interaction is in the {name}", where=where, remedy=remedy)
        only(kept, name, "", "")
    if options.max_history:
        only(_last(them, options.max_history), f"beyond the last {options.max_history} of a user", "--max-history", "")
    if options.min_history:
        kept = (np.bincount(them.users) >= options.min_history)[them.users]
        only(kept, f"user with fewer than {options.min_history}", "--min-history", "use less")
    return _recoded(them, items, bare, before, findings)


def _recoded(
    them: Interactions, items: Items | None, bare: np.ndarray | None, before: np.ndarray, findings: Findings
) -> Items:
    item_kept = np.bincount(them.items, minlength=len(them.item_ids)) > 0
    if items is not None:
        cold = before == 0 if bare is None else (before == 0) & ~bare
        item_kept |= cold
        if cold.any():
            findings.note(f"{int(cold.sum())} items without interactions are kept; they can be recommended")
    user_kept = np.bincount(them.users, minlength=len(them.user_ids)) > 0
    new_user, new_item = (np.cumsum(kept, dtype=np.int32) - np.int32(1) for kept in (user_kept, item_kept))
    alone = Items(them.item_ids, np.full(len(them.item_ids), -1, np.int64), 0)
    items = (alone if items is None else items).take(np.flatnonzero(item_kept))
    them.users, them.items = new_user[them.users], new_item[them.items]
    them.user_ids, them.item_ids = them.user_ids[user_kept], items.ids
    them.keep(_by_user_and_time(them.users, them.times))
    return items


def _by_user_and_time(users: np.ndarray, times: np.ndarray | None) -> np.ndarray:
    """(N,) int64: the places by user, then time, then place."""
    if times is None:
        return np.argsort(users, kind="stable")
    first, last = float(times.min(initial=np.inf)), float(times.max(initial=-np.inf))
    # Whole seconds fit beside the user into one number, which takes half the time of two keys.
    if last - first < 2**32 and not (times % 1).any():
        return np.argsort((users.astype(np.int64) << 32) + (times - first).astype(np.int64), kind="stable")
    return np.lexsort((times, users))


def _last(them: Interactions, most: int) -> np.ndarray:
    """(N,) bool: each user's last ``most``, by time and then by place in the file."""
    order = _by_user_and_time(them.users, them.times)
    stop = np.cumsum(np.bincount(them.users))
    kept = np.empty(len(them), bool)
    kept[order] = stop[them.users[order]] - np.arange(len(them)) <= most
    return kept
