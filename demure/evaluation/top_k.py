"""Find the best items of each row of scores, with ties in a fixed order.

Legend: B users; I items.
"""

from __future__ import annotations

import numpy as np

_CHUNK = 64
_MANY = 1000  # the chunked search pays off above this many items for each of the k: measured in benchmarks/LOG.md


def top_k(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k best items of each row, best first, ties by the lower index.

    ``scores`` (B, I) float32 without NaN, k <= I. Returns items (B, k) int64 and their scores (B, k).
    """
    n_items = scores.shape[1]
    best, columns = _largest(scores, min(k + 1, n_items))
    values, items = best[:, :k].copy(), columns[:, :k].copy()
    if k < n_items:
        # Torch returns any of equal scores, so a row whose k-th score is also its next one chooses again.
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
    """Return the k largest scores of each row, descending, any of equals, and their columns.

    Where items are many, the k largest are in the k chunks with the largest maxima: finding these chunks reads the
    scores once, in order, and a selection then handles few of them. (A chunk with a larger score than the k-th is among
    these k; so is every chunk with a score as large, unless the k chunks hold k such scores already.)
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
    """Return the columns (B, k) of the scores above ``last`` (B, 1) and of the first that equal it."""
    above, equal = scores > last, scores == last
    room = k - above.sum(axis=1, keepdims=True)
    chosen = above | (equal & (equal.cumsum(axis=1, dtype=np.int32) <= room))
    return np.nonzero(chosen)[1].reshape(-1, k)
