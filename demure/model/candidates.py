"""The items that stand for the catalogue in a softmax: all with the modality, or a sample of them.

A sample is drawn by the square root of the popularity, and its weights are corrected for that (logQ).

Shape suffixes: I items, N candidates, P time periods (0: all time).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Candidates:
    """The items that stand for the catalogue in a softmax.

    ``items_N``: the items. ``log_weight_N``: their log-probabilities, corrected for sampling (logQ). ``index_I``: where
    each item is among the candidates, -1 where it is not. ``period_NP``: how much more popular they were in each period
    than on the whole; period 0 is the whole.
    """

    items_N: Tensor
    log_weight_N: Tensor
    index_I: Tensor
    period_NP: Tensor

    @classmethod
    def build(cls, items_N: Tensor, log_weight_N: Tensor, n_items: int, period_NP: Tensor) -> Candidates:
        """Index the candidates, and scale their weights to sum to 1 in every period."""
        index_I = torch.full((n_items,), -1, device=items_N.device)
        index_I[items_N] = torch.arange(len(items_N), device=items_N.device)
        log_weight_N = log_weight_N - log_weight_N.logsumexp(0)
        return cls(items_N, log_weight_N, index_I, period_NP / (log_weight_N.exp() @ period_NP).clamp(min=1e-9))


@dataclass(frozen=True)
class DrawnItems:
    """Items ``items_N`` that a :class:`CandidateSampler` drew; ``complete``: all that have the modality."""

    items_N: Tensor
    complete: bool

    def log_weights(self, own_I: Tensor) -> Tensor:
        """Return their log-weights (N,), given the popularity ``own_I`` among the items with the modality."""
        log_own_N = own_I[self.items_N].log()
        return log_own_N if self.complete else log_own_N - own_I.sqrt()[self.items_N].log()


class CandidateSampler:
    """Draws ``count`` candidates on the host, where the random numbers are; all items where ``count`` is None.

    ``own_I``: popularity among the items with the modality, which are ``n_present``.
    """

    def __init__(self, own_I: Tensor, n_present: int, count: int | None) -> None:
        self._device, self._count = own_I.device, count
        self._proposal_I: Tensor | None = None
        if count is None or count >= n_present:
            self._all = DrawnItems(torch.where(own_I > 0)[0], True)
        else:
            self._proposal_I = own_I.sqrt().cpu()

    def draw(self, generator: torch.Generator | None) -> DrawnItems:
        """Return candidates on the device of ``own_I``."""
        if self._proposal_I is None:
            return self._all
        assert self._count is not None
        items_N = torch.multinomial(self._proposal_I, self._count, generator=generator)
        return DrawnItems(items_N.to(self._device), False)
