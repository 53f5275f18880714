"""Find the best items of each row of scores, with ties in a fixed order, on the device where the scores are.

Legend: B users; I items.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK = 64
_MANY = 1000  # the chunked search pays off above this many items for each of the k: measured in benchmarks/LOG.md


def top_k(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k best items of each row, best first, ties by the lower index.

    ``scores`` (B, I) float32 without NaN, k <= I. Returns items (B, k) int64 and their scores (B, k).
    """
    import torch

    items, values = top_k_tensor(torch.from_numpy(scores), k)
    return items.numpy(), values.numpy()


def top_k_tensor(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return what :func:`top_k` returns, as tensors on the device of ``scores``."""
    n_items = scores.shape[1]
    best, columns = _largest(scores, min(k + 1, n_items))
    values, items = best[:, :k].clone(), columns[:, :k].clone()
    if k < n_items:
        # Torch returns any of equal scores, so a row whose k-th score is also its next one chooses again.
        torn = (values[:, k - 1] == best[:, k]).nonzero()[:, 0]
        if len(torn):
            items[torn] = _lowest_among_equals(scores[torn], values[torn, k - 1 :], k)
            values[torn] = scores[torn].gather(1, items[torn])
    tied = (values[:, 1:] >= values[:, :-1]).any(dim=1).nonzero()[:, 0]
    if len(tied):
        tied_items, order = items[tied].sort(dim=1)
        tied_values, by_value = values[tied].gather(1, order).sort(dim=1, descending=True, stable=True)
        items[tied], values[tied] = tied_items.gather(1, by_value), tied_values
    return items, values


def _largest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest scores of each row, descending, any of equals, and their columns.

    Where items are many, the k largest are in the k chunks with the largest maxima: finding these chunks reads the
    scores once, in order, and a selection then handles few of them. (A chunk with a larger score than the k-th is among
    these k; so is every chunk with a score as large, unless the k chunks hold k such scores already.)
    """
    import torch

    n_items = scores.shape[1]
    if n_items < _MANY * k:
        best = scores.topk(k, dim=1)
        return best.values, best.indices
    whole = n_items // _CHUNK * _CHUNK
    chunks = scores[:, :whole].view(len(scores), -1, _CHUNK)
    chosen = chunks.amax(dim=2).topk(k, dim=1).indices[..., None]
    columns = (chosen * _CHUNK + torch.arange(_CHUNK, device=scores.device)).flatten(1)
    rest = torch.arange(whole, n_items, device=scores.device)
    columns = torch.cat([columns, rest.expand(len(scores), -1)], dim=1)
    best = scores.gather(1, columns).topk(k, dim=1)
    return best.values, columns.gather(1, best.indices)


def _lowest_among_equals(scores: Tensor, last: Tensor, k: int) -> Tensor:
    """Return the columns (B, k) of the scores above ``last`` (B, 1) and of the first that equal it."""
    import torch

    above, equal = scores > last, scores == last
    room = k - above.sum(dim=1, keepdim=True)
    chosen = above | (equal & (equal.cumsum(dim=1, dtype=torch.int32) <= room))
    return chosen.nonzero()[:, 1].view(-1, k)
