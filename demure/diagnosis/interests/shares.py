"""How many choices and users each interest explains, over time and together with other interests.

Every choice belongs, in each modality, to the interest of its most probable cluster, and counts there with the
probability that the modality was a point of interest. The shares of all interests of a modality sum to its mean
probability.

Shape suffixes: N choices, U users, I items, K interests of all modalities, R some of the choices.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from demure.diagnosis.table import DiagnosisTable

_NORMAL, _NORMAL_99 = 1.96, 2.58  # quantiles of the normal distribution for a 95 % and a 99 % interval


@dataclass(frozen=True)
class InterestShares:
    """The choices of ``table`` by interest. ``modality_K``, ``cluster_K``: which interest has which column."""

    table: DiagnosisTable
    modality_K: np.ndarray
    cluster_K: np.ndarray

    @cached_property
    def weight_NK(self) -> sparse.csr_array:
        """The probability that each choice is due to each interest; at most one interest per modality."""
        table = self.table
        rows, columns, values = [], [], []
        for m in range(len(table.modalities)):
            column_of_cluster = np.full(int(table.interest[:, m].max(initial=-1)) + 2, -1)  # the last is for -1
            for k in np.flatnonzero((self.modality_K == m) & (self.cluster_K < len(column_of_cluster) - 1)):
                column_of_cluster[self.cluster_K[k]] = k
            column_N = column_of_cluster[table.interest[:, m]]
            row = np.flatnonzero(column_N >= 0)
            rows.append(row)
            columns.append(column_N[row])
            values.append(table.probability[row, m].astype(np.float64))
        shape = (len(table.user), len(self.modality_K))
        entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
        return sparse.csr_array(entries, shape=shape)

    @cached_property
    def poi_NK(self) -> sparse.csr_array:
        """1 where the verdict on the modality of the interest is a point of interest."""
        weight_NK = self.weight_NK.tocoo()
        poi = self.table.poi[weight_NK.row, self.modality_K[weight_NK.col]].astype(np.float64)
        return sparse.csr_array((poi, (weight_NK.row, weight_NK.col)), shape=weight_NK.shape)

    @cached_property
    def by_user_UK(self) -> np.ndarray:
        """Expected number of choices of each user that each interest explains."""
        sums_UK: np.ndarray = (self._user_UN @ self.weight_NK).toarray()
        return sums_UK

    @cached_property
    def by_item_IK(self) -> np.ndarray:
        """Expected number of choices of each item that each interest explains."""
        sums_IK: np.ndarray = (_indicator(self.table.item, len(self.table.item_ids)) @ self.weight_NK).toarray()
        return sums_IK

    @cached_property
    def has_poi_UK(self) -> np.ndarray:
        """Whether each user has a point of interest in each interest."""
        has_poi_UK: np.ndarray = (self._user_UN @ self.poi_NK).toarray() > 0
        return has_poi_UK

    @cached_property
    def _user_UN(self) -> sparse.csr_array:
        return _indicator(self.table.user, len(self.table.user_ids))

    def shares(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the share of all choices that each interest explains (K,), and its 95 % interval over users (K, 2)."""
        share_K, influence_UK = self._influence(np.ones(len(self.table.user), bool))
        return share_K, _interval(share_K, influence_UK)

    def users_with_poi(self) -> np.ndarray:
        """Return the number of users with a point of interest in each interest (K,)."""
        counts_K: np.ndarray = self.has_poi_UK.sum(0)
        return counts_K

    def growth(self, late_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return by how much the share of each interest is larger among the choices ``late_N`` than among the others
        (K,), and its 99 % interval over users (K, 2): with 95 %, two of 40 interests would seem to change by chance."""
        early, late = self._influence(~late_N), self._influence(late_N)
        change_K = late[0] - early[0]
        return change_K, _interval(change_K, late[1] - early[1], _NORMAL_99)

    def _influence(self, rows_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the share of each interest among these choices (K,), and what each user adds to its error (U, K)."""
        table = self.table
        n = max(int(rows_N.sum()), 1)
        user_R, size = table.user[rows_N], len(table.user_ids)
        sums_UK = (_indicator(user_R, size) @ self.weight_NK[np.flatnonzero(rows_N)]).toarray()
        lengths_U1 = np.bincount(user_R, minlength=size)[:, None]
        share_K = sums_UK.sum(0) / n
        return share_K, (sums_UK - share_K * lengths_U1) / n

    def lifts(self) -> tuple[np.ndarray, np.ndarray]:
        """Return how many times as often the users of one interest choose by another as all users do (K, K), and the
        lower end of its 95 % interval over these users. Users of an interest have a point of interest in it."""
        sums_UK, lengths_U = self.by_user_UK, self.table.lengths.astype(np.float64)
        share_K = sums_UK.sum(0) / max(lengths_U.sum(), 1.0)
        K = len(share_K)
        lift_KK, low_KK = np.ones((K, K)), np.zeros((K, K))
        for k in range(K):
            users = self.has_poi_UK[:, k]
            n = lengths_U[users].sum()
            if not n:
                continue
            own_K = sums_UK[users].sum(0) / n
            error_K = np.sqrt(np.square((sums_UK[users] - own_K * lengths_U[users, None]) / n).sum(0))
            lift_KK[k] = own_K / np.maximum(share_K, 1e-12)
            low_KK[k] = (own_K - _NORMAL * error_K) / np.maximum(share_K, 1e-12)
        return lift_KK, low_KK


def _indicator(code_N: np.ndarray, size: int) -> sparse.csr_array:
    """Return the matrix (size, N) that adds up the rows of each code."""
    return sparse.csr_array((np.ones(len(code_N)), (code_N, np.arange(len(code_N)))), (size, len(code_N)))


def _interval(value_K: np.ndarray, influence_UK: np.ndarray, quantile: float = _NORMAL) -> np.ndarray:
    """Return the interval (K, 2) of values whose error is a sum over independent users."""
    error_K = quantile * np.sqrt(np.square(influence_UK).sum(0))
    return np.stack([value_K - error_K, value_K + error_K], 1)
