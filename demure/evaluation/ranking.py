"""Full ranking: score users against every item in blocks, rank, and measure.

How the corners are treated:

- ties: equal scores rank by the lower item index first, whatever the machine;
- seen items are no candidates: they are neither recommended nor counted as relevant;
- a score of -inf means "never recommend": such an item takes no place and is never a hit;
- users without a relevant item are left out; relevant items listed twice count once;
- k may exceed the number of items: the ranks that cannot be filled hold no hit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from demure.errors import DemureError
from demure.evaluation.lists import Catalogue, of_all_lists, of_lists
from demure.evaluation.metrics import Hits, measure
from demure.progress import Listener, Progress, silent

if TYPE_CHECKING:
    import pandas as pd

    from demure.data.histories import Histories

Scorer = Callable[[np.ndarray], np.ndarray]
"""Users (B,) int64 -> scores (B, I) float32, one column per item; -inf = never recommend."""

DEFAULT_KS = (5, 10, 20, 50)
_CHUNK = 64
_MANY = 1000  # more items than this for each of the k: measured in benchmarks/LOG.md
_BLOCK_SCORES = 64_000_000  # a block of scores stays near 256 MB, whatever the number of items


@dataclass(frozen=True)
class Found:
    """Every relevant item and where it was ranked: ``row`` (R,) is a place in ``Evaluation.users``, ascending; ``item``
    (R,); ``rank`` (R,) from 1, or 0 where the item is not among the first max(k)."""

    row: np.ndarray
    item: np.ndarray
    rank: np.ndarray


@dataclass(frozen=True)
class Evaluation:
    """What one scorer reached, user by user.

    ``users`` (n,) int64, ascending; ``per_user``: metric name, such as ``recall@20``, -> (n,) float64, NaN where a
    user's list cannot say. Where the catalogue was given: ``overall``, metrics of all lists together, and ``listed``:
    k -> (I,) int64, how many lists hold each item.
    """

    users: np.ndarray
    per_user: dict[str, np.ndarray]
    overall: dict[str, float] = field(default_factory=dict)
    found: Found | None = None
    listed: dict[int, np.ndarray] = field(default_factory=dict)

    def means(self) -> dict[str, float]:
        """Each metric's mean over the users that have it, NaN if there is none; then the ``overall`` ones."""
        return {name: mean_of(values) for name, values in self.per_user.items()} | self.overall

    def frame(self, user_ids: np.ndarray) -> pd.DataFrame:
        """One row per user, ``user_id`` and every metric; ``user_ids`` (U,) maps a user's index to its id."""
        import pandas as pd

        return pd.DataFrame({"user_id": user_ids[self.users], **self.per_user})


def mean_of(values: np.ndarray) -> float:
    """The mean of those that are not NaN; NaN if there is none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else float("nan")


def evaluate(
    scorer: Scorer,
    relevant: Histories,
    seen: Histories,
    ks: Sequence[int] = DEFAULT_KS,
    n_items: int | None = None,
    *,
    catalogue: Catalogue | None = None,
    batch: int | None = None,
    listener: Listener = silent,
) -> Evaluation:
    """Rank all items for every user of ``relevant`` but those in ``seen``, and measure at each k.

    ``relevant`` and ``seen`` are over the same U users. ``n_items``, where given, is what the scorer must return as the
    number of columns. With ``catalogue`` the lists themselves are measured too (``demure.evaluation.lists``). ``batch``
    users are scored at a time (chosen from the number of items where None).

    Raises ``DemureError`` for a k below 1, for histories of different numbers of users, and for scores of another shape
    or with NaN among them.
    """
    cuts = check_ks(ks)
    if len(relevant.indptr) != len(seen.indptr):
        raise DemureError(
            f"relevant items of {len(relevant.indptr) - 1} users, seen items of {len(seen.indptr) - 1}",
            where="evaluate",
            remedy="both must come from the same dataset",
        )
    candidates = np.flatnonzero(np.diff(relevant.indptr)).astype(np.int64)
    kept: list[np.ndarray] = []
    measured: list[dict[str, np.ndarray]] = []
    found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    listed: dict[int, np.ndarray] = {}
    done = judged = 0
    for users, scores in _blocks(scorer, candidates, n_items, batch):
        width = scores.shape[1]
        wanted = _leave_seen_out(scores, _keys(relevant, users, width), _keys(seen, users, width))
        items, values = top_k(scores, min(max(cuts), width))
        _refuse_nan(scores, values, users)
        items[values == -np.inf] = -1
        ranks = _ranks(scores, items, wanted)
        some = np.bincount(wanted // width, minlength=len(users)) > 0
        items, row, item = items[some], (np.cumsum(some) - 1)[wanted // width], wanted % width
        parts = measure(Hits.of(row, ranks, len(items)), cuts)
        if catalogue is not None:
            parts |= of_lists(items, cuts, catalogue)
            for k in cuts:
                top = items[:, :k]
                np.add.at(listed.setdefault(k, np.zeros(width, np.int64)), top[top >= 0], 1)
        found.append((row + judged, item, ranks))
        kept.append(users[some])
        measured.append(parts)
        judged += len(items)
        done += len(users)
        listener(Progress("evaluate", done, len(candidates)))
    if not measured:
        nothing = np.empty(0, np.int64)
        kept, found, measured = [nothing], [(nothing,) * 3], [measure(Hits.of(nothing, nothing, 0), cuts)]
    row, item, rank = map(np.concatenate, zip(*found, strict=True))
    return Evaluation(
        users=np.concatenate(kept),
        per_user={name: np.concatenate([part[name] for part in measured]) for name in measured[0]},
        overall=of_all_lists(listed),
        found=Found(row, item, rank),
        listed=listed,
    )


# The block's own copy of the scores also serves as the table in which cells are looked up: quicker than to search.


def _leave_seen_out(scores: np.ndarray, relevant: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Put -inf to the cells ``seen`` of the block; return the cells of ``relevant`` that are not seen, each once."""
    flat = scores.reshape(-1)
    relevant = np.sort(relevant)
    relevant = relevant[np.diff(relevant, prepend=-1) > 0]
    before = flat[relevant]
    flat[relevant] = 0.0
    flat[seen] = -np.inf
    new = flat[relevant] == 0.0
    flat[relevant[new]] = before[new]
    return relevant[new]


def _ranks(scores: np.ndarray, items: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The rank of each cell of ``wanted`` (R,) in the lists ``items`` (B, K); 0 if not there. Spoils ``scores``."""
    flat = scores.reshape(-1)
    flat[wanted] = 0.0
    row, place = np.nonzero(items >= 0)
    flat[row * scores.shape[1] + items[row, place]] = place + 1
    return flat[wanted].astype(np.int64)


def _refuse_nan(scores: np.ndarray, best: np.ndarray, users: np.ndarray) -> None:
    """Torch ranks NaN before all else, so where there is one the first of ``best`` (B, K) shows it."""
    if np.isnan(best[:, :1]).any():
        bad = np.argwhere(np.isnan(scores))
        raise DemureError(
            f"{len(bad)} scores are NaN, the first for user {users[bad[0][0]]} and item {bad[0][1]}",
            where="evaluate",
            remedy="the model diverged: train with a lower learning rate",
        )


def check_ks(ks: Sequence[int]) -> list[int]:
    """The cuts, ascending and each once; raise ``DemureError`` for none at all or one below 1."""
    cuts = sorted({int(k) for k in ks})
    if not cuts or cuts[0] < 1:
        given = ", ".join(str(k) for k in ks) or "none"
        raise DemureError(f"k must be 1 or more, got {given}", where="k", remedy="give cuts such as 5,10,20,50")
    return cuts


def top_k(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k best items of each row, best first, ties by the lower index.

    ``scores`` (B, I) float32 without NaN, k <= I. Returns items (B, k) int64 and their scores (B, k).
    """
    n_items = scores.shape[1]
    best, where = _largest(scores, min(k + 1, n_items))
    values, items = best[:, :k].copy(), where[:, :k].copy()
    if k < n_items:
        # Among equals any may be found, so rows whose k-th score goes on beyond the cut choose theirs anew.
        torn = np.flatnonzero(values[:, k - 1] == best[:, k])
        if len(torn):
            items[torn] = _lowest_among_equals(scores[torn], values[torn, k - 1 :], k)
            values[torn] = np.take_along_axis(scores[torn], items[torn], axis=1)
    tied = np.flatnonzero((values[:, 1:] >= values[:, :-1]).any(axis=1))
    order = np.lexsort((items[tied], -values[tied]), axis=1)
    items[tied] = np.take_along_axis(items[tied], order, axis=1)
    values[tied] = np.take_along_axis(values[tied], order, axis=1)
    return items, values


def _largest(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k largest of each row, descending, any of equals, and their columns.

    Where items are many, they are in the k chunks of the row with the largest maxima: to find these reads the scores
    once, in order, where a selection handles each of them. (A chunk with a larger score than the k-th is among these
    k; and so is every chunk with one as large, unless the k hold k such scores already.)
    """
    import torch

    rows = torch.from_numpy(scores)
    n_items = rows.shape[1]
    if n_items < _MANY * k:
        best = rows.topk(k, dim=1)
        return best.values.numpy(), best.indices.numpy()
    whole = n_items // _CHUNK * _CHUNK
    chunks = rows[:, :whole].view(len(rows), -1, _CHUNK)
    chosen = chunks.amax(dim=2).topk(k, dim=1).indices[..., None]
    columns = (chosen * _CHUNK + torch.arange(_CHUNK)).flatten(1)
    columns = torch.cat([columns, torch.arange(whole, n_items).expand(len(rows), -1)], dim=1)
    best = rows.gather(1, columns).topk(k, dim=1)
    return best.values.numpy(), columns.gather(1, best.indices).numpy()


def _lowest_among_equals(scores: np.ndarray, last: np.ndarray, k: int) -> np.ndarray:
    above, equal = scores > last, scores == last
    room = k - above.sum(axis=1, keepdims=True)
    chosen = above | (equal & (equal.cumsum(axis=1, dtype=np.int32) <= room))
    return np.nonzero(chosen)[1].reshape(-1, k)


def _blocks(
    scorer: Scorer, users: np.ndarray, n_items: int | None, batch: int | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Users (B,) and a copy of their scores (B, I), good until the next block; the first block of a scorer of unknown
    width is one user."""
    start, width = 0, n_items
    buffer = np.empty((0, 0), np.float32)  # one for all blocks: fresh memory costs more than the copy
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
    """How many users are scored in one block."""
    return int(np.clip(_BLOCK_SCORES // max(n_items, 1), 1, 1024))


def _keys(histories: Histories, users: np.ndarray, n_items: int) -> np.ndarray:
    """The cells row * n_items + item of the items of ``users``; row is the place within ``users``."""
    starts, lengths = histories.indptr[users], np.diff(histories.indptr)[users]
    offsets = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    items = histories.items[np.repeat(starts, lengths) + offsets]
    if len(items) and items.max() >= n_items:
        raise DemureError(
            f"item index {int(items.max())} where only {n_items} items are scored",
            where="evaluate",
            remedy="the scorer and the dataset must be over the same items",
        )
    return np.repeat(np.arange(len(users)), lengths) * n_items + items
