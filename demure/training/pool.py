"""Choose, on the validation split, how far to trust what is taken together and how far the content."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from demure.evaluation.ranking import evaluate
from demure.model.recommender import Pool, Recommender
from demure.training.batches import by_length, padded

if TYPE_CHECKING:
    from demure.data.dataset import Histories

COLLABORATIVE = (0.0, 0.5, 1.0)
CONTENT = (0.0, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
EXPONENTS = (0.2, 0.4, 0.6)
FADINGS = (0.7, 1.0, 1.3)
_CELLS = 2_000_000
_USERS = 2000


def choose_pool(
    recommender: Recommender, train: Histories, valid: Histories, *, seed: int
) -> tuple[Pool, dict[str, float]]:
    """The pool with the highest mean of recall@20 and NDCG@20 on (at most 2,000 users of) the validation split, and its
    metrics there. Exponent and fading of the ``id`` channel first, alone; then the weights. Ties go to more content.

    Without a validation split there is nothing to choose by: the defaults stay, and no metrics are returned.
    """
    users = np.flatnonzero(np.diff(valid.indptr) > 0)
    if not len(users):
        return recommender.pool, {}
    if len(users) > _USERS:
        users = np.sort(np.random.default_rng(seed).choice(users, _USERS, replace=False))
    n_items = len(recommender.log_popularity)
    relevant, seen = _only(valid, users), _only(train, users)

    def judge(scores: np.ndarray) -> dict[str, float]:
        return evaluate(lambda chosen: scores[chosen], relevant, seen, (20,), n_items).means()

    def goal(means: dict[str, float]) -> float:
        return round((means["recall@20"] + means["ndcg@20"]) / 2, 6)

    popularity = recommender.log_popularity
    pool, collaborative = recommender.pool, None
    if recommender.neighbours is not None:
        fadings = FADINGS if recommender.denoiser.ordered else (1.0,)
        best = -1.0
        for exponent, fading in product(EXPONENTS, fadings):
            recommender.neighbours = replace(recommender.neighbours, exponent=exponent, fading=fading)
            tried = _blocks(recommender.collaborative, train, users, n_items)
            value = goal(judge(tried + popularity))
            if value > best:
                best, collaborative = value, tried
                pool = replace(pool, exponent=exponent, fading=fading)
    content = _blocks(lambda items: recommender.content(items)[0], train, users, n_items)
    found: tuple[float, Pool, dict[str, float]] = (-1.0, pool, {})
    for v, w in product(COLLABORATIVE if collaborative is not None else (0.0,), CONTENT):
        scores = w * content + popularity
        if collaborative is not None:
            scores = scores + v * collaborative
        means = judge(scores.astype(np.float32))
        if goal(means) >= found[0]:
            found = (goal(means), replace(pool, collaborative=v, content=w), means)
    return found[1], found[2]


def _blocks(score, train: Histories, users: np.ndarray, n_items: int) -> np.ndarray:
    """Scores (len(users), I) float32 of histories, in blocks of users with histories of similar length."""
    out = np.empty((len(users), n_items), np.float32)
    row = {int(user): k for k, user in enumerate(users)}
    for block in by_length(train, users, _CELLS, 500, most=64):
        out[[row[int(user)] for user in block]] = score(padded(train, block))
    return out


def _only(histories: Histories, users: np.ndarray) -> Histories:
    """The histories of ``users``, renumbered from 0."""
    length = np.diff(histories.indptr)[users]
    indptr = np.concatenate([[0], np.cumsum(length)])
    at = np.repeat(histories.indptr[users] - indptr[:-1], length) + np.arange(indptr[-1])
    times = None if histories.times is None else histories.times[at]
    return type(histories)(indptr, histories.items[at], times)
