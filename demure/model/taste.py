"""Rival of content: hidden taste, a latent mixture that only co-occurrence shows.

Each user has a sparse mixture theta_u over clusters of items,

    p(i | u) / p_t(i) = sum_c theta_uc lambda_ci,

with lambda_ci a Poisson rate under a Gamma prior of mean 1. theta and lambda are collapsed and each interaction is left
out of its own estimate (CVB0; Asuncion et al., UAI 2009). The clusters start from the leading singular vectors of the
interactions that the content does not explain.

Shape suffixes: N training interactions, B further interactions, U users, I items, C clusters, P time periods;
column 0 is all time.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
import torch
from torch import Tensor

from demure.model.group_sums import GroupSums, index_tensor, row_blocks
from demure.model.mass_product import CPU

_RATE_STRENGTH = 0.5  # of the prior of lambda
_SMOOTHING = 1.0  # of theta, in interactions
_ROWS_AT_ONCE = 4096  # on a CPU, so few that they stay in the cache
_UNIFORM = 0.3  # share of the start that is spread over all clusters
_TINY = 1e-12


@dataclass(frozen=True)
class TasteClusters:
    """The fitted clusters for users who were not part of the training.

    ``rate_IC``: lambda; ``prior_C``: the mean of theta over all users.
    """

    rate_IC: Tensor
    prior_C: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors to store under their names."""
        return {"rate": self.rate_IC.float(), "prior": self.prior_C}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], n_items: int) -> TasteClusters:
        """Return the clusters of :meth:`tensors`.

        Raises ``KeyError`` where one is missing, ``ValueError`` where they are of other items.
        """
        rate_IC, prior_C = tensors["rate"], tensors["prior"]
        if rate_IC.ndim != 2 or rate_IC.shape != (n_items, len(prior_C)):
            raise ValueError("is of other items")
        return cls(rate_IC, prior_C)

    def to(self, device: torch.device) -> TasteClusters:
        """Return the clusters on ``device``."""
        return TasteClusters(self.rate_IC.to(device), self.prior_C.to(device))

    def start(self, item_N: Tensor) -> Tensor:
        """Return the posterior over the clusters (N, C) of interactions of users of whom nothing else is known."""
        joint_NC = self.prior_C * self.rate_IC.index_select(0, item_N)
        return joint_NC / joint_NC.sum(1).clamp(min=_TINY)[:, None]

    def fold_in(
        self, item_N: Tensor, by_user: GroupSums, weight_N: Tensor, posterior_NC: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return p(i | taste) / p_t(i) (N,) of each interaction given the others of its user, and the new posterior.

        ``by_user`` sums over the interactions of each user; ``weight_N``: their responsibilities.
        """
        theta_NC = by_user.of_columns(posterior_NC, weight_N).index_select(0, by_user.group_N)
        theta_NC += _SMOOTHING * self.prior_C - weight_N[:, None] * posterior_NC
        theta_NC.clamp_(min=_TINY)
        theta_NC /= theta_NC.sum(1, keepdim=True)
        joint_NC = theta_NC * self.rate_IC.index_select(0, item_N)
        ratio_N = joint_NC.sum(1).clamp(min=_TINY)
        return ratio_N, joint_NC / ratio_N[:, None]


class Taste:
    """The rival taste over the training interactions with the codes ``user_N`` and ``item_N``.

    ``period_N``: the periods of the interactions (:meth:`demure.model.popularity.Periods.assign`).
    ``popularity_factor_IP``: the popularity of an item in a period divided by its overall popularity.
    ``cluster_posterior_NC``: the posterior over the clusters of each interaction, updated in place; None before the
    first fit. It is fitted on ``device``, in float64.
    """

    def __init__(
        self,
        user_N: np.ndarray,
        item_N: np.ndarray,
        shape_UI: tuple[int, int],
        period_N: np.ndarray,
        popularity_factor_IP: np.ndarray,
        clusters: int,
        seed: int,
        device: torch.device = CPU,
    ) -> None:
        n_users, n_items = self._shape = shape_UI
        self._seed, self._device = seed, device
        self.by_user = GroupSums(index_tensor(user_N, device), n_users)
        self._by_item = GroupSums(index_tensor(item_N, device), n_items)
        self._by_period = GroupSums(index_tensor(period_N, device), popularity_factor_IP.shape[1])
        counts_I = np.bincount(item_N, minlength=n_items)
        leave_one_out_factor_N = np.where(counts_I > 0, 1.0 - 1.0 / np.maximum(counts_I, 1), 0.0)[item_N]
        self._popularity_I = torch.as_tensor(counts_I / max(len(item_N), 1)).to(device)
        self._leave_one_out_factor_N = torch.as_tensor(leave_one_out_factor_N).to(device)
        self._popularity_factor_IP = torch.as_tensor(popularity_factor_IP).double().to(device)
        self.clusters = clusters
        self.cluster_posterior_NC: Tensor | None = None
        self._prior_C = torch.full((clusters,), 1.0 / clusters, dtype=torch.float64, device=device)
        self._rate_IC = self._prior_C.new_ones((n_items, clusters))
        self._theta_UC = self._prior_C.new_full((n_users, clusters), 1.0 / clusters)

    def unfitted(self) -> Taste:
        """Return a model of the same interactions that is not fitted yet; the constant tensors are shared."""
        other = copy.copy(self)
        other.cluster_posterior_NC = None
        other._rate_IC = torch.ones_like(self._rate_IC)
        other._theta_UC = torch.full_like(self._theta_UC, 1.0 / self.clusters)
        return other

    def start(self, weight_N: Tensor) -> None:
        """Initialise the clusters: k-means on the item factors of an SVD of the weighted interactions, by the host."""
        from scipy.sparse.linalg import svds
        from sklearn.cluster import KMeans
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        places = self.by_user.group_N.cpu().numpy(), self._by_item.group_N.cpu().numpy()
        weight_UI = sparse.csr_array((weight_N.cpu().numpy(), places), self._shape)
        user_weight_U, item_weight_I = np.asarray(weight_UI.sum(1)).ravel(), np.asarray(weight_UI.sum(0)).ravel()
        user_scale_UU = sparse.diags_array((user_weight_U + 1.0) ** -0.5)
        item_scale_II = sparse.diags_array((item_weight_I + 1.0) ** -0.5)
        scaled = user_scale_UU @ weight_UI @ item_scale_II
        rank = min(self.clusters + 1, min(self._shape) - 1)
        label_I = np.zeros(self._shape[1], np.int64)
        if rank >= 2:
            with threadpool_limits(1):
                # A fixed starting vector: ARPACK would draw one.
                _, _, right = svds(scaled, k=rank, v0=np.ones(min(self._shape)))
                vectors = right[::-1][1:].T  # the first is the popularity
                length = np.linalg.norm(vectors, axis=1)
                # Where the rank is less, the last vectors are arbitrary.
                used_I = (length > _TINY) & (item_weight_I > 0)
                unit = vectors[used_I] / length[used_I, None]
                k = min(self.clusters, len(np.unique(unit, axis=0)))
                if k:
                    kmeans = KMeans(k, n_init=4, random_state=self._seed)
                    label_I[used_I] = kmeans.fit(unit, sample_weight=item_weight_I[used_I]).labels_
        label_N = torch.as_tensor(label_I).to(self._device).index_select(0, self._by_item.group_N)
        posterior_NC = weight_N.new_full((len(label_N), self.clusters), _UNIFORM / self.clusters)
        posterior_NC[torch.arange(len(label_N), device=self._device), label_N] += 1 - _UNIFORM
        self.cluster_posterior_NC = posterior_NC

    def update(self, weight_N: Tensor, learn_mask_N: Tensor) -> Tensor:
        """Fit to the interactions weighted by their responsibilities; return p(i | taste) / p_t(i) of each (N,).

        ``learn_mask_N``: 1 for the interactions that the clusters learn from, 0 for those of the users of the other
        fold.
        """
        if self.cluster_posterior_NC is None:
            self.start(weight_N)
        assert self.cluster_posterior_NC is not None
        # An array (N, C) of 10 million interactions has 1.9 GB. So the sums carry the weights, the products with the
        # posterior are made for a block at a time, and the new posterior takes the place of the old.
        posterior_NC, user_N, item_N = self.cluster_posterior_NC, self.by_user.group_N, self._by_item.group_N
        learned_N = weight_N * learn_mask_N
        total_C = learned_N @ posterior_NC + 1.0
        self._prior_C = total_C / total_C.sum()
        user_count_UC = self.by_user.of_columns(posterior_NC, weight_N).add_(_SMOOTHING * self._prior_C)
        self._theta_UC = user_count_UC / user_count_UC.sum(1, keepdim=True)
        observed_IC = self._by_item.of_columns(posterior_NC, learned_N)
        by_period_PC = self._by_period.of_columns(posterior_NC, learned_N)
        expected_IC = (self._popularity_factor_IP @ by_period_PC).mul_(self._popularity_I[:, None])
        self._rate_IC = (observed_IC + _RATE_STRENGTH) / (expected_IC + _RATE_STRENGTH)
        ratio_N = torch.empty_like(weight_N)
        for rows in row_blocks(len(posterior_NC), self._device, _ROWS_AT_ONCE):
            item_R, own_RC = item_N[rows], posterior_NC[rows]
            theta_RC = user_count_UC.index_select(0, user_N[rows])
            theta_RC.sub_(weight_N[rows, None] * own_RC).clamp_(min=_TINY)
            theta_RC /= theta_RC.sum(1, keepdim=True)
            observed_RC = observed_IC.index_select(0, item_R)
            observed_RC.sub_(learned_N[rows, None] * own_RC).clamp_(min=0.0).add_(_RATE_STRENGTH)
            expected_RC = expected_IC.index_select(0, item_R)
            expected_RC.mul_(self._leave_one_out_factor_N[rows, None]).add_(_RATE_STRENGTH)
            joint_RC = theta_RC.mul_(observed_RC.div_(expected_RC))
            ratio_R = joint_RC.sum(1)
            ratio_N[rows] = ratio_R
            torch.div(joint_RC, ratio_R.clamp(min=_TINY)[:, None], out=own_RC)
        return ratio_N

    def state(self) -> dict[str, Tensor]:
        """Return the fitted tensors, not copied, under their names in rivals.safetensors."""
        state = {"_rate_IC": self._rate_IC, "_theta_UC": self._theta_UC}
        # Stored under its former name, so that a training of an older version can be resumed.
        return state if self.cluster_posterior_NC is None else {**state, "part_NC": self.cluster_posterior_NC}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Set the tensors of :meth:`state`."""
        self._rate_IC, self._theta_UC = (state[name].to(self._device) for name in ("_rate_IC", "_theta_UC"))
        posterior_NC = state.get("part_NC")  # copied, since it is updated in place
        self.cluster_posterior_NC = None if posterior_NC is None else posterior_NC.to(self._device, copy=True)

    def for_new_users(self) -> TasteClusters:
        """Return what new users need of the fit."""
        return TasteClusters(self._rate_IC, self._prior_C)

    def next_ratio(self, user_B: np.ndarray, item_B: np.ndarray) -> np.ndarray:
        """Return p(i | taste) / p_t(i) (B,) of interactions later than the training split."""
        users, items = (torch.as_tensor(index).to(self._device) for index in (user_B, item_B))
        return (self._theta_UC[users] * self._rate_IC[items]).sum(1).clamp_(min=_TINY).cpu().numpy()
