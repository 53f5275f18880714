"""Evaluate by full ranking: score users against every item in blocks, rank the items, and measure the lists.

Edge cases:

- equal scores rank by the lower item index first, on every machine;
- past items are not candidates: they are neither recommended nor counted as relevant;
- a score of -inf means "never recommend": such an item takes no place and is never a hit;
- users without a relevant item are left out; a relevant item that is given twice counts once;
- k may exceed the number of items: the ranks that cannot be filled hold no hit.

Legend: B users in a block; I items; K = max(k); n users with a relevant item; R relevant items of all these users.
A cell is row * I + item, the place of a score in a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from demure.errors import DemureError
from demure.evaluation.beyond_accuracy import Catalogue, measure_catalogue, measure_lists
from demure.evaluation.metrics import Hits, measure
from demure.evaluation.top_k import top_k
from demure.progress import Listener, Progress, silent

if TYPE_CHECKING:
    import pandas as pd

    from demure.data.histories import Histories

Scorer = Callable[[np.ndarray], np.ndarray]
"""Users (B,) int64 -> scores (B, I) float32, one column per item; -inf = never recommend."""

DEFAULT_KS = (5, 10, 20, 50)
_BLOCK_SCORES = 64_000_000  # a block of scores stays near 256 MB for any number of items


@dataclass(frozen=True)
class RelevantRanks:
    """The rank of every relevant item: ``row`` (R,) is a position in ``Evaluation.users``, ascending; ``item`` (R,);
    ``rank`` (R,) from 1, or 0 where the item is not among the first max(k)."""

    row: np.ndarray
    item: np.ndarray
    rank: np.ndarray


@dataclass(frozen=True)
class Evaluation:
    """The metrics of one scorer, user by user.

    ``users`` (n,) int64, ascending; ``per_user``: metric name, such as ``recall@20``, -> (n,) float64, NaN where the
    user's list is too short. Where a catalogue was passed: ``overall``, metrics of all lists together, and
    ``list_counts``: k -> (I,) int64, how many lists hold each item.
    """

    users: np.ndarray
    per_user: dict[str, np.ndarray]
    overall: dict[str, float] = field(default_factory=dict)
    relevant_ranks: RelevantRanks | None = None
    list_counts: dict[int, np.ndarray] = field(default_factory=dict)

    def means(self) -> dict[str, float]:
        """Return each metric's mean over the users that have a value (NaN without one), and the ``overall`` metrics."""
        return {name: mean_of(values) for name, values in self.per_user.items()} | self.overall

    def frame(self, user_ids: np.ndarray) -> pd.DataFrame:
        """Return one row per user, ``user_id`` and every metric; ``user_ids`` (U,) maps a user's index to its id."""
        import pandas as pd

        return pd.DataFrame({"user_id": user_ids[self.users], **self.per_user})


def mean_of(values: np.ndarray) -> float:
    """Return the mean of the values that are not NaN; NaN if there is none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")


def evaluate(
    scorer: Scorer,
    relevant: Histories,
    past: Histories,
    ks: Sequence[int] = DEFAULT_KS,
    n_items: int | None = None,
    *,
    catalogue: Catalogue | None = None,
    batch: int | None = None,
    listener: Listener = silent,
) -> Evaluation:
    """Rank all items but the past ones for every user of ``relevant``, and measure at each k.

    ``relevant`` and ``past`` are over the same U users. ``n_items``: the number of columns that the scorer must return,
    any number where None. With ``catalogue`` the lists themselves are measured too
    (``demure.evaluation.beyond_accuracy``). ``batch`` users are scored at a time (chosen from the number of items where
    None).

    Raises ``DemureError`` for a k below 1, for histories of different numbers of users, and for scores that have
    another shape or hold NaN.
    """
    cuts = check_ks(ks)
    if len(relevant.indptr) != len(past.indptr):
        raise DemureError(
            f"relevant items of {len(relevant.indptr) - 1} users, past items of {len(past.indptr) - 1}",
            where="evaluate",
            remedy="both must come from the same dataset",
        )
    candidates = np.flatnonzero(relevant.lengths).astype(np.int64)
    evaluated: list[np.ndarray] = []
    measured: list[dict[str, np.ndarray]] = []
    relevant_ranks: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    list_counts: dict[int, np.ndarray] = {}
    done = n_evaluated = 0
    for users, scores in _blocks(scorer, candidates, n_items, batch):
        width = scores.shape[1]
        cells = _exclude_past(scores, _cells(relevant, users, width), _cells(past, users, width))
        items, values = top_k(scores, min(max(cuts), width))
        _refuse_nan(scores, values, users)
        items[values == -np.inf] = -1
        ranks = _ranks(scores, items, cells)
        has_relevant = np.bincount(cells // width, minlength=len(users)) > 0
        items, row, item = items[has_relevant], (np.cumsum(has_relevant) - 1)[cells // width], cells % width
        metrics = measure(Hits.of(row, ranks, len(items)), cuts)
        if catalogue is not None:
            metrics |= measure_lists(items, cuts, catalogue)
            for k in cuts:
                top = items[:, :k]
                np.add.at(list_counts.setdefault(k, np.zeros(width, np.int64)), top[top >= 0], 1)
        relevant_ranks.append((row + n_evaluated, item, ranks))
        evaluated.append(users[has_relevant])
        measured.append(metrics)
        n_evaluated += len(items)
        done += len(users)
        listener(Progress("evaluate", done, len(candidates)))
    if not measured:
        none = np.empty(0, np.int64)
        evaluated, relevant_ranks, measured = [none], [(none,) * 3], [measure(Hits.of(none, none, 0), cuts)]
    row, item, rank = map(np.concatenate, zip(*relevant_ranks, strict=True))
    return Evaluation(
        users=np.concatenate(evaluated),
        per_user={name: np.concatenate([metrics[name] for metrics in measured]) for name in measured[0]},
        overall=measure_catalogue(list_counts),
        relevant_ranks=RelevantRanks(row, item, rank),
        list_counts=list_counts,
    )


# The block's copy of the scores also serves as the lookup table of cells: to write marks into it is faster than a
# search.


def _exclude_past(scores: np.ndarray, relevant: np.ndarray, past: np.ndarray) -> np.ndarray:
    """Write -inf to the cells ``past`` of the block; return the cells of ``relevant`` that are not past, each once."""
    flat = scores.reshape(-1)
    relevant = np.sort(relevant)
    relevant = relevant[np.diff(relevant, prepend=-1) > 0]
    before = flat[relevant]
    flat[relevant] = 0.0
    flat[past] = -np.inf
    new = flat[relevant] == 0.0
    flat[relevant[new]] = before[new]
    remaining: np.ndarray = relevant[new]
    return remaining


def _ranks(scores: np.ndarray, items: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return the rank of each of ``cells`` (R,) in the lists ``items`` (B, K), 0 if it is not there. Overwrites
    ``scores``."""
    flat = scores.reshape(-1)
    flat[cells] = 0.0
    row, place = np.nonzero(items >= 0)
    flat[row * scores.shape[1] + items[row, place]] = place + 1
    ranks: np.ndarray = flat[cells].astype(np.int64)
    return ranks


def _refuse_nan(scores: np.ndarray, best: np.ndarray, users: np.ndarray) -> None:
    """Raise ``DemureError`` if a score is NaN. Torch ranks NaN first, so the first of ``best`` (B, K) is enough to
    check."""
    if np.isnan(best[:, :1]).any():
        bad = np.argwhere(np.isnan(scores))
        raise DemureError(
            f"{len(bad)} scores are NaN, the first for user {users[bad[0][0]]} and item {bad[0][1]}",
            where="evaluate",
            remedy="the model diverged: train with a lower learning rate",
        )


def check_ks(ks: Sequence[int]) -> list[int]:
    """Return the cutoffs, ascending and each once. Raises ``DemureError`` for no cutoff and for one below 1."""
    cuts = sorted({int(k) for k in ks})
    if not cuts or cuts[0] < 1:
        received = ", ".join(str(k) for k in ks) or "none"
        raise DemureError(f"k must be 1 or more, got {received}", where="k", remedy="use values such as 5,10,20,50")
    return cuts


def _blocks(
    scorer: Scorer, users: np.ndarray, n_items: int | None, batch: int | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield users (B,) and a copy of their scores (B, I), valid until the next block. The first block of a scorer of
    unknown width is one user."""
    start, width = 0, n_items
    buffer = np.empty((0, 0), np.float32)  # one buffer for all blocks: new memory costs more than the copy
    while start < len(users):
        size = batch or (1 if width is None else users_at_once(width))
        block = users[start : start + size]
        scores = np.asarray(scorer(block))
        if scores.ndim != 2 or len(scores) != len(block) or (width is not None and scores.shape[1] != width):
            raise DemureError(
                f"scores of shape {scores.shape} for {len(block)} users and {width or 'any number of'} items",
                where="evaluate",
                remedy="a scorer returns one row per user and one column per item",
            )
        width = scores.shape[1]
        if buffer.size < scores.size:
            buffer = np.empty(scores.shape, np.float32)
        copy = buffer.reshape(-1)[: scores.size].reshape(scores.shape)
        np.copyto(copy, scores, casting="unsafe")
        yield block, copy
        start += size


def users_at_once(n_items: int) -> int:
    """Return how many users are scored in one block."""
    return int(np.clip(_BLOCK_SCORES // max(n_items, 1), 1, 1024))


def _cells(histories: Histories, users: np.ndarray, n_items: int) -> np.ndarray:
    """Return the cells of the items of ``users``; the row is the position within ``users``."""
    chosen = histories.select_users(users)
    items = chosen.items
    if len(items) and items.max() >= n_items:
        raise DemureError(
            f"item index {int(items.max())}, but only {n_items} items are scored",
            where="evaluate",
            remedy="the scorer and the dataset must be over the same items",
        )
    cells: np.ndarray = chosen.owners * n_items + items
    return cells
