"""Rank the lists of any model as the scores of a run are ranked.

Legend: B users in a block; I items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from demure.data.histories import Histories
from demure.evaluation.ranking import ArrayScorer


def lists_scorer(lists: Histories, n_items: int) -> ArrayScorer:
    """Return a scorer that ranks the items of each user's list in its order, and never any other item."""

    def scores(users_B: np.ndarray) -> np.ndarray:
        scores_BI = np.full((len(users_B), n_items), -np.inf, np.float32)
        own = lists.select_users(users_B)
        place = np.arange(len(own.items)) - own.indptr[own.owners]
        scores_BI[own.owners, own.items] = -place.astype(np.float32)  # exact up to 2^24 places
        return scores_BI

    return scores


@dataclass(frozen=True)
class Coverage:
    """How far lists cover the evaluated users, and their candidates.

    Attributes:
        missing_users: evaluated users without a list.
        other_users: users with a list who are not evaluated.
        past_users: evaluated users whose list has items of their past.
        past_items: split -> the number of these items.
        short_lists: evaluated users with a list that has fewer candidates than the longest cutoff asks for.
    """

    missing_users: int
    other_users: int
    past_users: int
    past_items: dict[str, int]
    short_lists: int


def measure_coverage(
    lists: Histories, has_list: np.ndarray, users: np.ndarray, past: Mapping[str, Histories], k: int, n_items: int
) -> Coverage:
    """Compare the lists with the evaluated ``users`` (n,) and their ``past`` histories, by split; ``k``: the longest
    cutoff. A list is short if it has fewer than k candidates though there are as many."""
    is_evaluated = np.zeros(len(has_list), bool)
    is_evaluated[users] = True
    cells = _cells(lists, n_items, is_evaluated)
    past_cells = {split: _cells(histories, n_items, is_evaluated) for split, histories in past.items()}
    had = np.unique(np.concatenate([np.empty(0, np.int64), *past_cells.values()]))
    listed_past = np.intersect1d(cells, had)
    # The items that a user can be recommended: all but the past ones.
    n_candidates = n_items - np.bincount(had // n_items, minlength=len(has_list))
    n_listed = lists.lengths - np.bincount(listed_past // n_items, minlength=len(has_list))
    return Coverage(
        missing_users=int((is_evaluated & ~has_list).sum()),
        other_users=int((has_list & ~is_evaluated).sum()),
        past_users=len(np.unique(listed_past // n_items)),
        past_items={split: len(np.intersect1d(cells, own)) for split, own in past_cells.items()},
        short_lists=int((is_evaluated & has_list & (n_listed < np.minimum(k, n_candidates))).sum()),
    )


def _cells(histories: Histories, n_items: int, is_kept: np.ndarray) -> np.ndarray:
    """Return user * I + item of the interactions of the kept users (U,), each once."""
    owners = histories.owners
    kept = is_kept[owners]
    return np.unique(owners[kept] * n_items + histories.items[kept])
