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

_RATE_STRENGTH = 0.5  # of the prior of lambda
_SMOOTHING = 1.0  # of theta, in interactions
_ROWS_AT_ONCE = 4096
_UNIFORM = 0.3  # share of the start that is spread over all clusters
_TINY = 1e-12


@dataclass(frozen=True)
class TasteClusters:
    """The fitted clusters for users who were not part of the training.

    ``rate_IC``: lambda; ``prior_C``: the mean of theta over all users.
    """

    rate_IC: np.ndarray
    prior_C: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays to store under their names."""
        return {"rate": self.rate_IC.astype(np.float32), "prior": self.prior_C}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], n_items: int) -> TasteClusters:
        """Return the clusters of :meth:`arrays`.

        Raises ``KeyError`` where an array is missing, ``ValueError`` where they are of other items.
        """
        rate_IC, prior_C = arrays["rate"], arrays["prior"]
        if rate_IC.ndim != 2 or rate_IC.shape != (n_items, len(prior_C)):
            raise ValueError("is of other items")
        return cls(rate_IC, prior_C)

    def start(self, item_N: np.ndarray) -> np.ndarray:
        """Return the posterior over the clusters (N, C) of interactions of users of whom nothing else is known."""
        joint_NC = self.prior_C * self.rate_IC[item_N]
        posterior_NC: np.ndarray = joint_NC / np.maximum(joint_NC.sum(1), _TINY)[:, None]
        return posterior_NC

    def fold_in(
        self,
        item_N: np.ndarray,
        by_user_UN: sparse.csr_array,
        user_N: np.ndarray,
        weight_N: np.ndarray,
        posterior_NC: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return p(i | taste) / p_t(i) (N,) of each interaction given the others of its user, and the new posterior.

        ``by_user_UN`` sums over the interactions of each user; ``weight_N``: their responsibilities.
        """
        count_NC = weight_N[:, None] * posterior_NC
        theta_NC = (by_user_UN @ count_NC)[user_N]
        theta_NC += _SMOOTHING * self.prior_C - count_NC
        theta_NC = np.maximum(theta_NC, _TINY)
        theta_NC /= theta_NC.sum(1, keepdims=True)
        joint_NC = theta_NC * self.rate_IC[item_N]
        ratio_N = np.maximum(joint_NC.sum(1), _TINY)
        return ratio_N, joint_NC / ratio_N[:, None]


class Taste:
    """The rival taste over the training interactions with the codes ``user_N`` and ``item_N``.

    ``period_N``: the periods of the interactions (:meth:`demure.model.popularity.Periods.assign`).
    ``popularity_factor_IP``: the popularity of an item in a period divided by its overall popularity.
    ``cluster_posterior_NC``: the posterior over the clusters of each interaction, updated in place; None before the
    first fit.
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
    ) -> None:
        n = len(item_N)
        self._user, self._item, self._shape, self._seed = user_N, item_N, shape_UI, seed
        rows, ones = np.arange(n), np.ones(n)
        self._everything = sparse.csr_array((ones, (np.zeros(n, np.int8), rows)), (1, n))
        self.by_user_UN = sparse.csr_array((ones, (user_N, rows)), (shape_UI[0], n))
        self._by_item = sparse.csr_array((ones, (item_N, rows)), (shape_UI[1], n))
        self._by_period = sparse.csr_array((ones, (period_N, rows)), (popularity_factor_IP.shape[1], n))
        counts_I = np.bincount(item_N, minlength=shape_UI[1])
        self._popularity_I = counts_I / max(n, 1)
        self._leave_one_out_factor_N = np.where(counts_I > 0, 1.0 - 1.0 / np.maximum(counts_I, 1), 0.0)[item_N]
        self._popularity_factor_IP = popularity_factor_IP
        self.clusters = clusters
        self.cluster_posterior_NC: np.ndarray | None = None
        self._rate_IC = np.ones((shape_UI[1], clusters))
        self._theta_UC = np.full((shape_UI[0], clusters), 1.0 / clusters)
        self._prior_C = np.full(clusters, 1.0 / clusters)

    def unfitted(self) -> Taste:
        """Return a model of the same interactions that is not fitted yet; the constant matrices are shared."""
        other = copy.copy(self)
        other.cluster_posterior_NC = None
        other._rate_IC = np.ones_like(self._rate_IC)
        other._theta_UC = np.full_like(self._theta_UC, 1.0 / self.clusters)
        return other

    def start(self, weight_N: np.ndarray) -> None:
        """Initialise the clusters: k-means on the item factors of an SVD of the weighted interactions."""
        from scipy.sparse.linalg import svds
        from sklearn.cluster import KMeans
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        weight_UI = sparse.csr_array((weight_N, (self._user, self._item)), self._shape)
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
        self.cluster_posterior_NC = np.full((len(self._item), self.clusters), _UNIFORM / self.clusters)
        self.cluster_posterior_NC[np.arange(len(self._item)), label_I[self._item]] += 1 - _UNIFORM

    def update(self, weight_N: np.ndarray, learn_mask_N: np.ndarray) -> np.ndarray:
        """Fit to the interactions weighted by their responsibilities; return p(i | taste) / p_t(i) of each (N,).

        ``learn_mask_N``: 1 for the interactions that the clusters learn from, 0 for those of the users of the other
        fold.
        """
        if self.cluster_posterior_NC is None:
            self.start(weight_N)
        assert self.cluster_posterior_NC is not None
        # An array (N, C) of 10 million interactions has 1.9 GB. So the sparse sums carry the weights, the products with
        # the posterior are made for a block at a time, and the new posterior takes the place of the old.
        posterior_NC = self.cluster_posterior_NC
        learned_N = weight_N * learn_mask_N
        total_C = (_weighted(self._everything, learned_N) @ posterior_NC)[0]
        self._prior_C = (total_C + 1.0) / (total_C + 1.0).sum()
        user_count_UC = _weighted(self.by_user_UN, weight_N) @ posterior_NC + _SMOOTHING * self._prior_C
        self._theta_UC = user_count_UC / user_count_UC.sum(1, keepdims=True)
        observed_IC = _weighted(self._by_item, learned_N) @ posterior_NC
        by_period_PC = _weighted(self._by_period, learned_N) @ posterior_NC
        expected_IC = self._popularity_I[:, None] * (self._popularity_factor_IP @ by_period_PC)
        self._rate_IC = (observed_IC + _RATE_STRENGTH) / (expected_IC + _RATE_STRENGTH)
        ratio_N = np.empty(len(posterior_NC))
        for start in range(0, len(posterior_NC), _ROWS_AT_ONCE):  # so few that they stay in the cache
            rows = slice(start, start + _ROWS_AT_ONCE)
            item_R, factor_R1 = self._item[rows], self._leave_one_out_factor_N[rows, None]
            theta_RC = user_count_UC[self._user[rows]] - weight_N[rows, None] * posterior_NC[rows]
            theta_RC = np.maximum(theta_RC, _TINY)
            theta_RC /= theta_RC.sum(1, keepdims=True)
            observed_RC = np.maximum(observed_IC[item_R] - learned_N[rows, None] * posterior_NC[rows], 0.0)
            rate_RC = (observed_RC + _RATE_STRENGTH) / (expected_IC[item_R] * factor_R1 + _RATE_STRENGTH)
            joint_RC = theta_RC * rate_RC
            ratio_N[rows] = joint_RC.sum(1)
            posterior_NC[rows] = joint_RC / np.maximum(ratio_N[rows], _TINY)[:, None]
        return ratio_N

    def state(self) -> dict[str, np.ndarray]:
        """Return the fitted arrays, not copied, under their names in rivals.safetensors."""
        state = {"_rate_IC": self._rate_IC, "_theta_UC": self._theta_UC}
        # Stored under its former name, so that a training of an older version can be resumed.
        return state if self.cluster_posterior_NC is None else {**state, "part_NC": self.cluster_posterior_NC}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Set the arrays of :meth:`state`."""
        self._rate_IC, self._theta_UC = state["_rate_IC"], state["_theta_UC"]
        posterior_NC = state.get("part_NC")
        self.cluster_posterior_NC = None if posterior_NC is None else posterior_NC.copy()  # it is updated in place

    def for_new_users(self) -> TasteClusters:
        """Return what new users need of the fit."""
        return TasteClusters(self._rate_IC, self._prior_C)

    def next_ratio(self, user_B: np.ndarray, item_B: np.ndarray) -> np.ndarray:
        """Return p(i | taste) / p_t(i) (B,) of interactions later than the training split."""
        ratio_B: np.ndarray = np.maximum((self._theta_UC[user_B] * self._rate_IC[item_B]).sum(1), _TINY)
        return ratio_B


def _weighted(sums: sparse.csr_array, weight_N: np.ndarray) -> sparse.csr_array:
    """Return the 0-1 matrix ``sums`` (., N) with the weights of its columns."""
    return sparse.csr_array((weight_N[sums.indices], sums.indices, sums.indptr), sums.shape)
