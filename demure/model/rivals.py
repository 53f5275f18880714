"""The rivals of content for users who were not part of the training: fixed models, folded in user by user.

``demure.training.rivals`` fits the rivals on the training interactions; what a new user's choices need of them is kept
here: popularity and transitions as they are, and the clusters of hidden taste, whose shares are inferred from the
user's other choices (leave-one-out, CVB0 as in ``demure.model.taste``).

Shape suffixes: N interactions, B users of a batch, T positions, U users, I items, G periods of time, P = G + 1 (0: all
time), R rivals (popularity, transition, taste), M modalities, K = R + M causes, C taste clusters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import Tensor

from demure.model.batch import KnownSideInformation, SideInformationSource
from demure.model.blocks import infer_blocks
from demure.model.denoiser import RIVALS, Denoiser
from demure.model.group_sums import GroupSums, index_tensor, row_blocks
from demure.model.popularity import Periods
from demure.model.taste import TasteClusters
from demure.model.transition import TransitionCounts

if TYPE_CHECKING:
    from demure.data.histories import Histories

Value = TypeVar("Value")
_LONGEST = 2000
_ROWS_AT_ONCE = 16384  # on a CPU, so few that they stay in the cache
_STEPS = 40  # of EM between the responsibilities and the shares of the taste clusters
_PASSES = 2  # of the content's ratios, which depend on the rivals' in turn


@dataclass(frozen=True)
class RivalModels:
    """The fitted rivals without anything of single training interactions.

    ``rate_IG``: p(i) / p_t(i) of the rival popularity in every period.
    """

    periods: Periods
    rate_IG: np.ndarray
    transitions: TransitionCounts
    taste: TasteClusters

    def tensors(self) -> dict[str, Tensor]:
        """Return the arrays under their names in rival_models.safetensors."""
        arrays = {
            "periods.starts": self.periods.starts,
            "periods.popularity_factor": self.periods.popularity_factor_IP.astype(np.float32),
            "popularity.rate": self.rate_IG.astype(np.float32),
            **{f"transition.{name}": array for name, array in self.transitions.arrays().items()},
        }
        tensors = {name: torch.as_tensor(array) for name, array in arrays.items()}
        return tensors | {f"taste.{name}": tensor.cpu() for name, tensor in self.taste.tensors().items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], item_counts_I: np.ndarray) -> RivalModels:
        """Return the models of :meth:`tensors`, with the training interactions of each item.

        Raises ``KeyError`` where a tensor is missing, ``ValueError`` where the shapes are those of other items.
        """
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        factor_IP, rate_IG = arrays["periods.popularity_factor"], arrays["popularity.rate"]
        starts, n_items = arrays["periods.starts"], len(item_counts_I)
        if factor_IP.shape != (n_items, len(starts) + 1) or rate_IG.shape != (n_items, max(len(starts), 1)):
            raise ValueError("is of other items")
        return cls(
            Periods(starts, factor_IP, 0.0),
            rate_IG,
            TransitionCounts.from_arrays(_part(arrays, "transition."), item_counts_I),
            TasteClusters.from_tensors(_part(tensors, "taste."), n_items),
        )

    @torch.no_grad()
    def side_information(self, histories: Histories, denoiser: Denoiser, *, ordered: bool) -> KnownSideInformation:
        """Return the periods of the interactions of new users and the density ratios of the rivals.

        The taste ratio of an interaction rests on the other interactions of its user, weighted by their
        responsibilities under the content of ``denoiser``. ``ordered``: whether histories without times are in order of
        time.
        """
        period_N = self.periods.assign(histories.times, len(histories.items))
        ratio_NR = np.ones((len(histories.items), len(RIVALS)), np.float32)
        factor_N = self.periods.popularity_factor_IP[histories.items, period_N]
        ratio_NR[:, 0] = self.rate_IG[histories.items, np.maximum(period_N - 1, 0)]
        ratio_NR[:, 1] = self.transitions.ratios(histories, factor_N, ordered=ordered)
        device, parts = denoiser.log_cause_prior_K.device, histories.split_long(_LONGEST)
        by_user = GroupSums(index_tensor(histories.owners, device), len(histories.indptr) - 1)
        taste, item_N = self.taste.to(device), index_tensor(histories.items, device)
        for _ in range(_PASSES):
            ratio_NM = content_ratios(denoiser, parts, KnownSideInformation(period_N, ratio_NR))
            ratio_NK = torch.as_tensor(np.concatenate([ratio_NR, ratio_NM], 1).astype(np.float64)).to(device)
            r_NK, posterior_NC = torch.zeros_like(ratio_NK), taste.start(item_N)
            for _ in range(_STEPS):
                r_NK = responsibilities(denoiser, by_user, r_NK, ratio_NK)
                ratio_NK[:, 2], posterior_NC = taste.fold_in(item_N, by_user, r_NK[:, 2], posterior_NC)
            ratio_NR[:, 2] = ratio_NK[:, 2].cpu().numpy()
        return KnownSideInformation(period_N, ratio_NR)


def _part(values: Mapping[str, Value], prefix: str) -> dict[str, Value]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


@torch.no_grad()
def content_ratios(denoiser: Denoiser, histories: Histories, source: SideInformationSource) -> np.ndarray:
    """Return the density ratios of the modalities (N, M) under ``denoiser``, beside the rivals' ratios of ``source``.

    Long histories are to be split before.
    """
    ratio_NM = np.ones((len(histories.items), len(denoiser.modalities)))
    for block in infer_blocks(denoiser, histories, None, source):
        valid_BT = block.interactions_BT >= 0
        ratio_NM[block.interactions_BT[valid_BT]] = block.inferred.ratio_BTM.cpu().numpy()[valid_BT]
    return ratio_NM


@torch.no_grad()
def responsibilities(denoiser: Denoiser, by_user: GroupSums, r_NK: Tensor, ratio_NK: Tensor) -> Tensor:
    """Return new responsibilities (N, K) of single causes with the density ratios ``ratio_NK``: one E step.

    Two causes at once are left to the denoiser. ``by_user`` sums over the interactions of each user.
    """
    count_UK = by_user.of_columns(r_NK) if denoiser.users_differ else None
    normalised_NK = torch.empty_like(ratio_NK)
    priors = denoiser.cause_priors(ratio_NK.dtype)
    for rows in row_blocks(len(ratio_NK), ratio_NK.device, _ROWS_AT_ONCE):
        counts_RK = torch.zeros_like(r_NK[rows])
        if count_UK is not None:
            counts_RK = count_UK.index_select(0, by_user.group_N[rows]) - r_NK[rows]
        joint_RK = priors.shares(counts_RK).mul_(ratio_NK[rows])
        torch.div(joint_RK, joint_RK.sum(1, keepdim=True), out=normalised_NK[rows])
    return normalised_NK
