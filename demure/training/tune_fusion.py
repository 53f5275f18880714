"""Choose, on the validation split, how the ``id`` channel walks, how far to trust it, and how far the content."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from demure.evaluation.ranking import Evaluation, evaluate
from demure.model.item_item import Neighbours, Pairs, Walk, count_pairs, linear_model, neighbours_of
from demure.model.recommender import Pool, Recommender

if TYPE_CHECKING:
    from demure.data.histories import Histories

WALKS = {
    "nearness": (1.0, 0.5, 0.0),
    "fading": (1.0, 0.0, 0.5, 1.3),
    "shared": (0.0, 1.0),
    "exponent": (0.4, -0.2, 0.0, 0.2, 0.6, 0.8),
    "further": (0.0, 0.5, 1.0, 2.0),
    "linear": (0.0, 0.1, 0.25, 0.5),
}
NEED_ORDER = ("nearness", "fading")
COLLABORATIVE = (0.0, 0.5, 0.75, 1.0)
CONTENT = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.55, 0.7, 1.0)
SCARCE = (0.0, 0.5, 1.0, 1.5)
LINEAR_ITEMS = 10_000
"""Most items for a linear model: its fit is cubic in them (a quarter of a minute for 7,000 on one core)."""
_ROUNDS = 2
_CELLS = 2_000_000
_USERS = 2000
_PAIRS = 50_000_000  # listed pairs up to which histories with an order are walked several steps
_SCORES = 50_000_000  # users x items held at once


def tune_fusion(
    recommender: Recommender, train: Histories, valid: Histories, window: int | None, *, seed: int
) -> dict[str, float]:
    """Give ``recommender`` the ``id`` channel (unless ``window`` is None) and the pool with the highest mean of
    recall@20 and NDCG@20 on (at most 2,000 users of) the validation split; return its metrics there.

    First the walk, alone, one number at a time; then the weights of both channels, together; then how much more
    content the items that few took get, with the content's weight again, where that gains more than its standard error
    over users. Ties go to more content for all. Without a validation split there is nothing to choose by: the defaults
    stay, and no metrics are returned.
    """
    n_items = len(recommender.log_popularity)
    popularity = recommender.taken_I
    ordered = recommender.denoiser.ordered
    walk = Walk() if ordered else Walk(nearness=0.0, fading=0.0)
    users = np.flatnonzero(valid.lengths > 0)
    if not len(users):
        if window is not None:
            recommender.neighbours = neighbours_of(train, popularity, walk, window)
            recommender.pool = Pool()
        return {}
    most = max(1, min(_USERS, _SCORES // n_items))
    if len(users) > most:
        users = np.sort(np.random.default_rng(seed).choice(users, most, replace=False))
    relevant, seen = valid.select_users(users), train.select_users(users)
    share = recommender.log_popularity

    def judge(scores: np.ndarray) -> Evaluation:
        return evaluate(lambda chosen: scores[chosen], relevant, seen, (20,), n_items)

    def score(items: np.ndarray) -> np.ndarray:
        return recommender.collaborative(items) + share

    if window is not None:
        linear_II = linear_model(train, n_items) if n_items <= LINEAR_ITEMS else None

        @lru_cache(maxsize=1)  # most walks that are tried one after the other count alike
        def pairs(nearness: float, shared: float) -> Pairs:
            return count_pairs(train.indptr, train.items, n_items, window, nearness=nearness, shared=shared)

        def neighbours(one: Walk) -> Neighbours:
            return Neighbours(pairs(one.nearness, one.shared), popularity, one, linear_II)

        def walked(one: Walk) -> float:
            recommender.neighbours = neighbours(one)
            return _goal(judge(_blocks(score, train, users, n_items)))

        refused = [*(() if ordered else NEED_ORDER), *(() if linear_II is not None else ("linear",))]
        if ordered and len(train.items) * window > _PAIRS:
            refused.append("further")
        walk = _line_searches(walk, {name: grid for name, grid in WALKS.items() if name not in refused}, walked)
        recommender.neighbours = neighbours(walk)
    collaborative = _blocks(recommender.collaborative, train, users, n_items)
    content = _blocks(lambda items: recommender.content(items)[0], train, users, n_items)
    known: dict[Pool, Evaluation] = {}

    def best(pools: list[Pool]) -> Pool:
        for one in pools:
            weight = one.content_of(popularity)
            known[one] = judge(one.collaborative * collaborative + weight * content + share.astype(np.float32))
        return max(pools, key=lambda one: (_goal(known[one]), -one.scarce, one.content))

    weights = CONTENT if recommender.denoiser.admitted_K()[recommender.denoiser.n_rivals :].any() else (0.0,)
    pool = best([Pool(v, w) for v, w in product(COLLABORATIVE if window is not None else (0.0,), weights)])
    if window is not None and len(weights) > 1:
        other = best([Pool(pool.collaborative, w, s) for w, s in product(weights, SCARCE[1:])])
        gain = _goals(known[other]) - _goals(known[pool])
        if gain.mean() > gain.std() / np.sqrt(len(gain)):
            pool = other
    recommender.pool = pool
    return known[pool].means()


def _goals(found: Evaluation) -> np.ndarray:
    values: np.ndarray = (found.per_user["recall@20"] + found.per_user["ndcg@20"]) / 2
    return values


def _goal(found: Evaluation) -> float:
    return round(float(_goals(found).mean()), 6)


def _line_searches(walk: Walk, grid: dict[str, tuple[float, ...]], goal: Callable[[Walk], float]) -> Walk:
    """The best walk found by trying each number's values in turn, twice over; ties go to the earlier value."""
    known: dict[Walk, float] = {}
    for _ in range(_ROUNDS):
        for name, values in grid.items():
            for one in [walk, *(replace(walk, **{name: value}) for value in values)]:
                if one not in known:
                    known[one] = goal(one)
            walk = max([walk, *(replace(walk, **{name: value}) for value in values)], key=known.__getitem__)
    return walk


def _blocks(score: Callable[[np.ndarray], np.ndarray], train: Histories, users: np.ndarray, n_items: int) -> np.ndarray:
    """Scores (len(users), I) float32 of histories, in blocks of users with histories of similar length."""
    out = np.empty((len(users), n_items), np.float32)
    row = {int(user): k for k, user in enumerate(users)}
    for block in train.group_by_length(users, _CELLS, 500, max_users=64):
        out[[row[int(user)] for user in block]] = score(train.padded(block))
    return out
