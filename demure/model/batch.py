"""A batch of histories as tensors: which positions are observed, and which may be evidence for which.

Shape suffixes: N interactions, B users, T positions of a history, R rivals of content; ``x_BTT`` runs from source to
target position.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class SideInformation:
    """Properties of a batch's positions besides their items.

    ``period_BT`` int64: the period of time of each position, 0 where time is not used. ``rival_ratio_BTR``: the density
    ratios of the rivals of content, None to leave them out.
    """

    period_BT: Tensor
    rival_ratio_BTR: Tensor | None


class SideInformationSource(Protocol):
    """What knows the side information of the interactions of some histories."""

    def side_information(self, interactions_BT: np.ndarray, device: torch.device | str = "cpu") -> SideInformation:
        """Return that of the interactions with these indices, -1 for padding."""


@dataclass(frozen=True)
class KnownSideInformation:
    """The side information of N interactions: ``period_N`` int64, ``ratio_NR`` float32 or None for no rivals."""

    period_N: np.ndarray
    ratio_NR: np.ndarray | None

    def side_information(self, interactions_BT: np.ndarray, device: torch.device | str = "cpu") -> SideInformation:
        """Return the periods and rival ratios of the interactions with these indices, -1 for padding."""
        clipped_BT = np.maximum(interactions_BT, 0)
        period_BT = torch.as_tensor(np.where(interactions_BT >= 0, self.period_N[clipped_BT], 0)).to(device)
        if self.ratio_NR is None:
            return SideInformation(period_BT, None)
        return SideInformation(period_BT, torch.as_tensor(self.ratio_NR[clipped_BT]).to(device))


@dataclass(frozen=True)
class HistoryBatch:
    """Padded histories of B users.

    ``items_BT`` int64: the item of each position, 0 where padded. ``valid_BT`` float: 1 where there is an interaction.
    ``observed_BT`` float: 1 where the interaction may be used as evidence; the other valid positions are held-out
    targets. ``visible_BTT`` float: 1 where the source position may be evidence for the target position.
    ``log_gap_BTT``: log of their distance in steps, 0 if the order is unknown. ``log_age_BT``: log of the distance from
    a position to the step after the last one. ``static_shapes``: whether no shape may depend on what the batch holds:
    then the host never waits for the device, and a step can be recorded.
    """

    items_BT: Tensor
    valid_BT: Tensor
    observed_BT: Tensor
    visible_BTT: Tensor
    log_gap_BTT: Tensor
    log_age_BT: Tensor
    side_information: SideInformation
    static_shapes: bool

    @classmethod
    def build(
        cls,
        items_BT: Tensor,
        observed_BT: Tensor | None = None,
        *,
        ordered: bool,
        causal: bool = False,
        side_information: SideInformation | None = None,
    ) -> HistoryBatch:
        """Build a batch from ``items_BT`` int64, -1 where padded (at the end), and ``observed_BT`` bool (default: all).

        An item is never evidence for itself: no position sees another occurrence of its own item. With ``causal``, a
        position is evidence for later positions alone. Shapes are static on all devices but a CPU.
        """
        valid_BT = items_BT >= 0
        observed_BT = valid_BT if observed_BT is None else valid_BT & observed_BT
        items_BT = items_BT.clamp(min=0)
        B, T = items_BT.shape
        visible_BTT = observed_BT[:, :, None] & valid_BT[:, None, :] & (items_BT[:, :, None] != items_BT[:, None, :])
        if causal:
            visible_BTT = visible_BTT & torch.ones(T, T, dtype=torch.bool, device=items_BT.device).triu(1)
        if ordered:
            position = torch.arange(T, device=items_BT.device)
            log_gap = (position[:, None] - position[None, :]).abs().clamp(min=1).float().log().expand(B, T, T)
            log_age = (valid_BT.sum(1, keepdim=True) - position[None, :]).clamp(min=1).float().log()
        else:
            log_gap = torch.zeros(1, 1, 1, device=items_BT.device).expand(B, T, T)
            log_age = torch.zeros(B, T, device=items_BT.device)
        if side_information is None:
            side_information = SideInformation(torch.zeros_like(items_BT), None)
        return cls(
            items_BT,
            valid_BT.float(),
            observed_BT.float(),
            visible_BTT.float(),
            log_gap,
            log_age,
            side_information,
            static_shapes=items_BT.device.type != "cpu",
        )

    @cached_property
    def mutual_BTT(self) -> Tensor:
        """1 where both positions are observed and the source may be evidence for the target, from target to source."""
        return self.visible_BTT.transpose(1, 2) * self.observed_BT[:, :, None]

    @cached_property
    def same_item_BTT(self) -> Tensor | None:
        """1 where two positions have the same item; None where no history holds an item twice and shapes may vary."""
        same_BTT = self.items_BT[:, :, None] == self.items_BT[:, None, :]
        if not self.static_shapes and not is_exporting():
            valid_BT = self.valid_BT.bool()
            in_both_BTT = same_BTT & valid_BT[:, :, None] & valid_BT[:, None, :]
            if int(in_both_BTT.sum()) == int(valid_BT.sum()):
                return None
        return same_BTT.float()


def is_exporting() -> bool:
    """Return whether torch is tracing an export; torch has this function since 2.7."""
    return bool(getattr(torch.compiler, "is_exporting", bool)())
