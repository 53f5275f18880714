"""A batch of histories: which positions are known, and which may speak for which."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Beside:
    """What is known of a batch besides the items: ``period_BT`` int64, the period of time of every position, 0 where
    time is not looked at; ``rival_BTR`` the density ratios of the rivals of content, None where they are not asked."""

    period_BT: Tensor
    rival_BTR: Tensor | None


@dataclass(frozen=True)
class Context:
    """Padded histories of B users.

    ``items_BT`` item of every position (0 where padded); ``valid_BT`` float, 1 where there is an interaction;
    ``known_BT`` float, 1 where it may be used as evidence (the rest are held-out targets); ``reach_BTT`` float, 1 where
    the source position may speak for the target position; ``log_gap_BTT`` log of their distance in steps, 0 if order
    is unknown; ``log_age_BT`` log of the distance from a position to the step after the last; ``beside`` see there.
    """

    items_BT: Tensor
    valid_BT: Tensor
    known_BT: Tensor
    reach_BTT: Tensor
    log_gap_BTT: Tensor
    log_age_BT: Tensor
    beside: Beside

    @classmethod
    def of(
        cls,
        items_BT: Tensor,
        known_BT: Tensor | None = None,
        *,
        ordered: bool,
        causal: bool = False,
        beside: Beside | None = None,
    ) -> Context:
        """Build from ``items_BT`` int64 with -1 where padded (padding at the end) and ``known_BT`` bool.

        No position reaches itself or another occurrence of its own item: an item is never evidence for itself. With
        ``causal`` none reaches an earlier one.
        """
        valid = items_BT >= 0
        known = valid if known_BT is None else valid & known_BT
        items = items_BT.clamp(min=0)
        reach = known[:, :, None] & valid[:, None, :] & (items[:, :, None] != items[:, None, :])
        B, T = items.shape
        if causal:
            reach = reach & torch.ones(T, T, dtype=torch.bool, device=items.device).triu(1)
        if ordered:
            position = torch.arange(T, device=items.device)
            log_gap = (position[:, None] - position[None, :]).abs().clamp(min=1).float().log().expand(B, T, T)
            log_age = (valid.sum(1, keepdim=True) - position[None, :]).clamp(min=1).float().log()
        else:
            log_gap = torch.zeros(1, 1, 1, device=items.device).expand(B, T, T)
            log_age = torch.zeros(B, T, device=items.device)
        if beside is None:
            beside = Beside(torch.zeros_like(items), None)
        return cls(items, valid.float(), known.float(), reach.float(), log_gap, log_age, beside)
