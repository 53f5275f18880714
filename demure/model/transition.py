"""Rival of content: transitions from the interactions before, such as habits and sets bought together.

p(i | j) for the items i chosen after j follows from the soft counts c_ji of other users' pairs,

    rho(i | j) = p(i | j) / p_t(i),    p(i | j) = (c_ji + k p_t(i)) / (c_j + k).

An interaction is explained by a mixture of the interactions before it and of strengths k of the prior; the shares of
the mixture are learned by EM. Where interactions have the same time their order is unknown, and both directions count.

Shape suffixes: N training interactions, E pairs of them, I items, S kinds of source (distance before, or after), K
strengths, B further interactions, W = ``WINDOW`` interactions before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from demure.data.histories import Histories
from demure.model.group_sums import GroupSums, index_tensor, row_blocks
from demure.model.mass_product import CPU

WINDOW = 5
"""Largest distance of a pair in a history."""
_STRENGTHS = (0.3, 1.0, 3.0, 10.0, 100.0)
_EM_STEPS = 5
_PAIRS_AT_ONCE = 16384
_TINY = 1e-12


class Transition:
    """Transition counts over the training interactions of the users ``user_N``, fitted on ``device``, in float64.

    ``popularity_factor_N``: how much more popular each item was at the time of the interaction than on the whole.
    """

    def __init__(
        self,
        train: Histories,
        user_N: np.ndarray,
        n_items: int,
        popularity_factor_N: np.ndarray,
        device: torch.device = CPU,
    ) -> None:
        item_N = train.items
        source_E, target_E, kind_E = _pairs(train, user_N)
        ends = np.searchsorted(kind_E, np.arange(1, 2 * WINDOW + 1)).tolist()
        del kind_E
        self._kinds = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
        """The pairs of each kind; no two of them have the same target."""
        j, i, user = item_N[source_E], item_N[target_E], user_N[target_E]
        del source_E
        self._n, self._n_items = len(item_N), n_items
        self._key, pair_E = _number(j * np.int64(n_items) + i)
        self._base_I = _base(np.bincount(item_N, minlength=n_items))
        self._base_E = torch.as_tensor(self._base_I[i] * popularity_factor_N[target_E]).to(device)
        self._target_E = index_tensor(target_E, device)
        del i, target_E
        # A user's own pairs are no evidence for the user's interactions: they are subtracted in `update`.
        self._by_pair = GroupSums(index_tensor(pair_E, device), len(self._key))
        self._by_own_pair = _sums_of(user * np.int64(len(self._key) + 1) + pair_E, device)
        self._by_source = GroupSums(index_tensor(j, device), n_items)
        self._by_own_source = _sums_of(user * np.int64(n_items) + j, device)
        share = 1.0 / (2 * WINDOW * len(_STRENGTHS))
        self.share_SK = torch.full((2 * WINDOW, len(_STRENGTHS)), share, dtype=torch.float64, device=device)
        self._count = self.share_SK.new_zeros(len(self._key))
        self._row_I = self.share_SK.new_zeros(n_items)
        self._on_host: tuple[np.ndarray, np.ndarray] | None = None

    def update(self, weight_N: Tensor) -> Tensor:
        """Fit to the interactions weighted by ``weight_N``; return p(i | before) / p_t(i) of each (N,)."""
        if not len(self._target_E):
            return torch.ones_like(weight_N)
        weight_E = weight_N.index_select(0, self._target_E)
        for pairs, share in zip(self._kinds, self.share_SK.sum(1), strict=True):
            weight_E[pairs] *= share
        self._count, self._row_I, self._on_host = self._by_pair(weight_E), self._by_source(weight_E), None
        own_count, own_row = self._by_own_pair(weight_E), self._by_own_source(weight_E)
        # New arrays of pairs cost more than what is computed in them: their pages of memory have to be cleared. So
        # there are few, and what needs more is done for as many pairs as stay in the cache.
        ratio_KE = weight_E.new_empty((len(_STRENGTHS), len(weight_E)))
        for rows in row_blocks(len(weight_E), weight_E.device, _PAIRS_AT_ONCE):
            count_R = self._count.index_select(0, self._by_pair.group_N[rows])
            count_R.sub_(own_count.index_select(0, self._by_own_pair.group_N[rows])).clamp_(min=0.0)
            count_R.div_(self._base_E[rows])
            row_R = self._row_I.index_select(0, self._by_source.group_N[rows])
            row_R.sub_(own_row.index_select(0, self._by_own_source.group_N[rows])).clamp_(min=0.0)
            for ratio_E, strength in zip(ratio_KE, _STRENGTHS, strict=True):
                torch.div(count_R + strength, row_R + strength, out=ratio_E[rows])
        density_E, scale_E = torch.empty_like(weight_E), weight_E
        for _ in range(_EM_STEPS):
            share_SK = self.share_SK
            # Sums over the strengths, kind by kind: products with vectors, without arrays of pairs x strengths.
            for pairs, share_K in zip(self._kinds, share_SK, strict=True):
                torch.mv(ratio_KE[:, pairs].T, share_K, out=density_E[pairs])
            density_N = self._sum_by_target(density_E)
            torch.index_select(weight_N / density_N.clamp(min=_TINY), 0, self._target_E, out=scale_E)
            expected_SK = torch.stack([ratio_KE[:, pairs] @ scale_E[pairs] for pairs in self._kinds]) * share_SK
            self.share_SK = expected_SK + 1e-3
            self.share_SK /= self.share_SK.sum()
        # The shares of the sources that a short history lacks go to the popularity, whose ratio is 1.
        for pairs, share in zip(self._kinds, share_SK.sum(1), strict=True):
            density_E[pairs] = share
        missing_N = 1.0 - self._sum_by_target(density_E)
        return density_N.add_(missing_N.clamp_(min=0.0))

    def _sum_by_target(self, value_E: Tensor) -> Tensor:
        """Return the sum of the values of the pairs of each target (N,), kind by kind: always in the same order."""
        total_N = value_E.new_zeros(self._n)
        for pairs in self._kinds:
            total_N.index_add_(0, self._target_E[pairs], value_E[pairs])
        return total_N

    def state(self) -> dict[str, Tensor]:
        """Return the fitted tensors under their names in rivals.safetensors."""
        return {"share_SK": self.share_SK, "_count": self._count, "_row_I": self._row_I}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Set the tensors of :meth:`state`."""
        device = self.share_SK.device
        self.share_SK, self._count, self._row_I = (state[name].to(device) for name in ("share_SK", "_count", "_row_I"))
        self._on_host = None

    def counts(self) -> TransitionCounts:
        """Return what the histories of new users need of the fit."""
        sources = np.arange(self._n_items + 1, dtype=np.int64) * self._n_items
        starts_I1, item_E = np.searchsorted(self._key, sources), self._key % max(self._n_items, 1)
        return TransitionCounts(starts_I1, item_E, *self._count_and_row(), self._base_I, self.share_SK.cpu().numpy())

    def _count_and_row(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the counts of the pairs and of their sources on the host, copied once for each fit."""
        if self._on_host is None:
            self._on_host = self._count.cpu().numpy(), self._row_I.cpu().numpy()
        return self._on_host

    def next_ratio(self, before_BW: np.ndarray, item_B: np.ndarray, popularity_factor_B: np.ndarray) -> np.ndarray:
        """Return p(i | before) / p_t(i) (B,) of interactions after the training.

        ``before_BW``: the last items, newest first, -1 for none; ``popularity_factor_B`` as ``popularity_factor_N``.
        """
        ratio_B = np.ones(len(item_B))
        count_E, row_I = self._count_and_row()
        share_SK = self.share_SK.cpu().numpy()
        for gap, from_B in enumerate(before_BW.T[:WINDOW]):
            rows = np.flatnonzero((from_B >= 0) & (from_B != item_B))
            count = _look_up(self._key, count_E, from_B[rows] * np.int64(self._n_items) + item_B[rows])
            base = self._base_I[item_B[rows]] * popularity_factor_B[rows]
            share_K = share_SK[gap]
            ratio_B[rows] += share_K @ _ratios(count, row_I[from_B[rows]], base) - share_K.sum()
        return np.maximum(ratio_B, _TINY)


@dataclass(frozen=True)
class TransitionCounts:
    """The fitted transitions for the histories of users who were not part of the training.

    The pairs (E,) are sorted by their source item: those from item j are ``starts_I1[j]`` to before
    ``starts_I1[j + 1]``, to ``item_E``, with the soft counts ``count_E``; ``row_I`` counts all pairs from an item.
    ``base_I``: popularity; ``share_SK`` as in :class:`Transition`.
    """

    starts_I1: np.ndarray
    item_E: np.ndarray
    count_E: np.ndarray
    row_I: np.ndarray
    base_I: np.ndarray
    share_SK: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays to store under their names; ``base_I`` follows from the training interactions."""
        return {
            "starts": self.starts_I1,
            "item": self.item_E.astype(np.int32),
            "count": self.count_E.astype(np.float32),
            "row": self.row_I.astype(np.float32),
            "share": self.share_SK,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], item_counts_I: np.ndarray) -> TransitionCounts:
        """Return the counts of :meth:`arrays`; ``item_counts_I``: training interactions of each item.

        Raises ``KeyError`` where an array is missing, ``ValueError`` where they do not fit each other or the items.
        """
        starts_I1, item_E, row_I = arrays["starts"], arrays["item"], arrays["row"]
        n_items = len(item_counts_I)
        rising = len(starts_I1) == n_items + 1 and starts_I1[0] == 0 and (np.diff(starts_I1) >= 0).all()
        if not rising or starts_I1[-1] != len(item_E) or len(item_E) != len(arrays["count"]) or len(row_I) != n_items:
            raise ValueError("is of other items")
        if len(item_E) and not (item_E.min() >= 0 and item_E.max() < n_items):
            raise ValueError("names an item that there is not")
        if arrays["share"].shape != (2 * WINDOW, len(_STRENGTHS)):
            raise ValueError("was written by another demure")
        return cls(starts_I1, item_E, arrays["count"], row_I, _base(item_counts_I), arrays["share"])

    def ratios(self, histories: Histories, popularity_factor_N: np.ndarray, *, ordered: bool) -> np.ndarray:
        """Return p(i | before) / p_t(i) of each interaction (N,) of new users.

        ``popularity_factor_N`` as in :class:`Transition`; ``ordered``: whether histories without times are in order of
        time.
        """
        n_items, item_N = len(self.base_I), histories.items
        if ordered and histories.times is None:
            histories = Histories(histories.indptr, item_N, np.arange(len(item_N), dtype=np.float64))
        source_E, target_E, kind_E = _pairs(histories, histories.owners)
        j, i = item_N[source_E], item_N[target_E]
        key_E = np.repeat(np.arange(n_items, dtype=np.int64), np.diff(self.starts_I1)) * n_items + self.item_E
        count_E = _look_up(key_E, self.count_E, j * np.int64(n_items) + i)
        ratio_KE = _ratios(count_E, self.row_I[j].astype(np.float64), self.base_I[i] * popularity_factor_N[target_E])
        # What the sources that a history lacks would explain goes to the popularity, whose ratio is 1.
        change_E = ((ratio_KE - 1.0) * self.share_SK.T[:, kind_E]).sum(0)
        ratio_N: np.ndarray = np.maximum(1.0 + np.bincount(target_E, change_E, len(item_N)), _TINY)
        return ratio_N


def _base(item_counts_I: np.ndarray) -> np.ndarray:
    """Return the smoothed popularity (I,) from the training interactions of each item."""
    base_I: np.ndarray = (item_counts_I + 1.0) / (item_counts_I.sum() + len(item_counts_I))
    return base_I


def _number(key_E: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the different keys, ascending, and the number of each key among them; in half of NumPy's time."""
    keys, number_E = torch.unique(torch.as_tensor(key_E), return_inverse=True)
    return keys.numpy(), number_E.numpy()


def _sums_of(key_E: np.ndarray, device: torch.device) -> GroupSums:
    """Return the sums over pairs of the same key."""
    keys, number_E = _number(key_E)
    return GroupSums(index_tensor(number_E, device), len(keys))


def _look_up(key_E: np.ndarray, count_E: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the counts of the pairs with the keys ``wanted``, 0 for pairs that are not among ``key_E``, sorted."""
    if not len(key_E):
        return np.zeros(len(wanted))
    index = np.searchsorted(key_E, wanted).clip(max=len(key_E) - 1)
    return np.where(key_E[index] == wanted, count_E[index], 0.0)


def _ratios(count_E: np.ndarray, row_E: np.ndarray, base_E: np.ndarray) -> np.ndarray:
    """Return the density ratio of every pair for every strength (K, E)."""
    return np.stack([(count_E / base_E + k) / (row_E + k) for k in _STRENGTHS])


def _pairs(train: Histories, user_N: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return sources and targets (E,) as indices of interactions, and the kind of each pair, ascending.

    The kind is the distance of the source before the target or, in the upper half, after it where their times are equal
    or unknown.
    """
    position = np.arange(len(train.items))
    sources, targets, kinds = [], [], []
    for kind in range(2 * WINDOW):
        gap = kind % WINDOW + 1
        source, target = position[:-gap], position[gap:]
        if kind >= WINDOW:
            source, target = target, source
        valid = (user_N[source] == user_N[target]) & (train.items[source] != train.items[target])
        if kind >= WINDOW and train.times is not None:
            valid &= train.times[source] == train.times[target]
        sources.append(source[valid])
        targets.append(target[valid])
        kinds.append(np.full(int(valid.sum()), kind))
    return np.concatenate(sources), np.concatenate(targets), np.concatenate(kinds)
