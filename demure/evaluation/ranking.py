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
from typing import TYPE_CHECKING, Union

import numpy as np

from demure.errors import DemureError
from demure.evaluation.beyond_accuracy import Catalogue, ListMetrics, measure_catalogue
from demure.evaluation.metrics import Hits, measure
from demure.evaluation.top_k import top_k_tensor
from demure.progress import Listener, Progress, silent

if TYPE_CHECKING:
    import pandas as pd
    import torch
    from torch import Tensor

    from demure.data.histories import Histories

Scorer = Callable[[np.ndarray], Union[np.ndarray, "Tensor"]]
"""Users (B,) int64 -> scores (B, I) float32, one column per item; -inf = never recommend.

Scores may be a tensor on any device: they are ranked there, and only the ranks come back.
"""
ArrayScorer = Callable[[np.ndarray], np.ndarray]


def as_array(scores: np.ndarray | Tensor) -> np.ndarray:
    """Return what a scorer returned as an array (B, I) float32, from whatever device."""
    return np.asarray(scores if isinstance(scores, np.ndarray) else scores.cpu().numpy(), dtype=np.float32)


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

    @classmethod
    def merge(cls, parts: Sequence[Evaluation]) -> Evaluation:
        """Return the evaluation of all users from those of parts of the users, in the order of the users.

        The metrics of a user come from one part, and the lists that hold an item are counted over all.
        """
        if len(parts) == 1:
            return parts[0]
        ranks = [part.relevant_ranks for part in parts if part.relevant_ranks is not None]
        before = np.cumsum([0, *(len(part.users) for part in parts[:-1])])
        list_counts = {k: np.sum([part.list_counts[k] for part in parts], axis=0) for k in parts[0].list_counts}
        return cls(
            users=np.concatenate([part.users for part in parts]),
            per_user={name: np.concatenate([part.per_user[name] for part in parts]) for name in parts[0].per_user},
            overall=measure_catalogue(list_counts),
            relevant_ranks=RelevantRanks(
                np.concatenate([part.row + first for part, first in zip(ranks, before, strict=True)]),
                np.concatenate([part.item for part in ranks]),
                np.concatenate([part.rank for part in ranks]),
            ),
            list_counts=list_counts,
        )

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
    users: np.ndarray | None = None,
    listener: Listener = silent,
) -> Evaluation:
    """Rank all items but the past ones for every user of ``relevant``, and measure at each k.

    ``relevant`` and ``past`` are over the same U users. ``n_items``: the number of columns that the scorer must return,
    any number where None. With ``catalogue`` the lists themselves are measured too
    (``demure.evaluation.beyond_accuracy``). ``batch`` users are scored at a time (chosen from the number of items where
    None). ``users`` (n,): evaluates these alone, by default all with a relevant item.

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
    import torch

    candidates = np.flatnonzero(relevant.lengths).astype(np.int64) if users is None else users
    evaluated: list[np.ndarray] = []
    relevant_ranks: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    list_metrics: ListMetrics | None = None
    cells_of: list[_Cells] = []
    done = n_evaluated = 0
    for block, scores in _blocks(scorer, candidates, n_items, batch):
        width = scores.shape[1]
        if not cells_of:
            cells_of = [_Cells(histories, width, scores.device) for histories in (relevant, past)]
            list_metrics = None if catalogue is None else ListMetrics(catalogue, cuts, width, scores.device)
        cells = _exclude_past(scores, *(each.of(block) for each in cells_of))
        items, values = top_k_tensor(scores, min(max(cuts), width))
        _refuse_nan(scores, values, block)
        listed = values > -np.inf
        rank = _ranks(scores, items, listed, cells)
        row, item = cells // width, cells % width
        has_relevant = torch.zeros(len(block), dtype=torch.bool, device=row.device).index_fill_(0, row, True)
        if list_metrics is not None:
            list_metrics.add(items.where(listed, -1)[has_relevant])
        row = (has_relevant.cumsum(0) - 1)[row]
        relevant_ranks.append((row.cpu().numpy() + n_evaluated, item.cpu().numpy(), rank.cpu().numpy()))
        evaluated.append(block[has_relevant.cpu().numpy()])
        n_evaluated += len(evaluated[-1])
        done += len(block)
        listener(Progress("evaluate", done, len(candidates)))
    none = np.empty(0, np.int64)
    row_R, item_R, rank_R = map(np.concatenate, zip(*(relevant_ranks or [(none,) * 3]), strict=True))
    per_user = measure(Hits.of(row_R, rank_R, n_evaluated), cuts)
    if list_metrics is not None:
        per_user |= list_metrics.per_list()
    list_counts = {} if list_metrics is None else list_metrics.counts()
    return Evaluation(
        users=np.concatenate([none, *evaluated]),
        per_user=per_user,
        overall=measure_catalogue(list_counts),
        relevant_ranks=RelevantRanks(row_R, item_R, rank_R),
        list_counts=list_counts,
    )


class _Cells:
    """The items of ``histories`` as cells of a block of scores of ``n_items`` columns, built on its ``device``."""

    def __init__(self, histories: Histories, n_items: int, device: torch.device) -> None:
        import torch

        if len(histories.items) and histories.items.max() >= n_items:
            raise DemureError(
                f"item index {int(histories.items.max())}, but only {n_items} items are scored",
                where="evaluate",
                remedy="the scorer and the dataset must be over the same items",
            )
        self._lengths, self._n_items = histories.lengths, n_items
        self._first = torch.as_tensor(histories.indptr[:-1], device=device)
        self._length = torch.as_tensor(self._lengths, device=device)
        self._items = torch.as_tensor(histories.items, device=device)

    def of(self, users: np.ndarray) -> Tensor:
        """Return the cells of the items of ``users`` (B,); the row is the position within ``users``."""
        import torch

        device, total = self._items.device, int(self._lengths[users].sum())
        user = torch.as_tensor(users, device=device)
        length = self._length[user]
        # The place of a user's first item, less the number of items before it.
        start = self._first[user] - (length.cumsum(0) - length)
        row = torch.repeat_interleave(length, output_size=total)
        return row * self._n_items + self._items[start[row] + torch.arange(total, device=device)]


# The block's copy of the scores also serves as the lookup table of cells: to write marks into it is faster than a
# search.


def _exclude_past(scores: Tensor, relevant: Tensor, past: Tensor) -> Tensor:
    """Write -inf to the cells ``past`` of the block; return the cells of ``relevant`` that are not past, each once."""
    flat = scores.view(-1)
    relevant = relevant.unique()  # type: ignore[no-untyped-call]
    before = flat.take(relevant)
    flat.index_fill_(0, relevant, 0.0)
    flat.index_fill_(0, past, -np.inf)
    new = flat.take(relevant) == 0.0
    remaining = relevant[new]
    flat[remaining] = before[new]
    return remaining


def _ranks(scores: Tensor, items: Tensor, listed: Tensor, cells: Tensor) -> Tensor:
    """Return the rank of each of ``cells`` (R,) in the lists ``items`` (B, K), 0 if it is not there or not ``listed``
    (B, K). Overwrites ``scores``."""
    import torch

    scores.view(-1).index_fill_(0, cells, 0.0)
    place = torch.arange(1, items.shape[1] + 1, dtype=scores.dtype, device=scores.device)
    scores.scatter_(1, items, place * listed)
    return scores.view(-1).take(cells).long()


def _refuse_nan(scores: Tensor, best: Tensor, users: np.ndarray) -> None:
    """Raise ``DemureError`` if a score is NaN. Torch ranks NaN first, so the first of ``best`` (B, K) is enough to
    check."""
    if bool(best[:, :1].isnan().any()):
        bad = scores.isnan().nonzero().tolist()
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
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Yield users (B,) and a copy of their scores (B, I) float32, valid until the next block. The first block of a
    scorer of unknown width is one user."""
    import torch

    start, width = 0, n_items
    buffer = torch.empty(0)  # one buffer for all blocks: new memory costs more than the copy
    while start < len(users):
        size = batch or (1 if width is None else users_at_once(width, buffer.device.type))
        block = users[start : start + size]
        scores = torch.as_tensor(scorer(block))
        if scores.ndim != 2 or len(scores) != len(block) or (width is not None and scores.shape[1] != width):
            raise DemureError(
                f"scores of shape {tuple(scores.shape)} for {len(block)} users and {width or 'any number of'} items",
                where="evaluate",
                remedy="a scorer returns one row per user and one column per item",
            )
        width = scores.shape[1]
        if buffer.numel() < scores.numel() or buffer.device != scores.device:
            buffer = torch.empty(scores.numel(), device=scores.device)
        yield block, buffer[: scores.numel()].view(scores.shape).copy_(scores)
        start += size


def users_at_once(n_items: int, device: str = "cpu") -> int:
    """Return how many users are scored in one block on a ``device`` of this type."""
    # On an accelerator more, because every block costs its launches.
    most = 1024 if device == "cpu" else 16_384
    return int(np.clip(_BLOCK_SCORES // max(n_items, 1), 1, most))
