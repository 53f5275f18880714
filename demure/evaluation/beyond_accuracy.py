"""Measure the lists beyond accuracy: novelty, popularity, diversity, coverage of the catalogue, concentration.

Legend: B lists of up to K items; I items in the catalogue; d columns of a feature; ``items`` (B, K) int64, ranked lists
of item indices, best first, -1 where a list has ended; ``k`` the cutoff.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from demure.data.user_sums import Sums, sum_users
from demure.evaluation.metrics import ILD, MetricAtK

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from demure.data.dataset import Dataset
    from demure.data.histories import Histories

_ROWS_AT_ONCE = 65_536


@dataclass(frozen=True)
class Catalogue:
    """The facts about items that list metrics and slices need.

    ``popularity`` (I,): how many of the ``users`` with a training history had the item. By modality: ``content`` (I, d)
    float32, rows of unit length, zero where there is nothing to compare; and ``present`` (I,) bool, whether the item
    has the modality.
    """

    popularity: np.ndarray
    users: int
    content: Mapping[str, np.ndarray] = field(default_factory=dict)
    present: Mapping[str, np.ndarray] = field(default_factory=dict)

    @cached_property
    def comparable(self) -> dict[str, np.ndarray]:
        """The rows of ``content`` that are not zero: modality -> (I,) bool."""
        return {name: np.asarray(vectors.any(axis=1)) for name, vectors in self.content.items()}

    @classmethod
    def of(cls, dataset: Dataset, users: Sums | None = None) -> Catalogue:
        """Read the catalogue of a dataset with all its features, less their mean, each row scaled to unit length.

        ``users``: the sums of :class:`UsersPerItem`, where they have been computed.
        """
        from demure.features import store

        content, present = {}, {}
        for name in store.names(dataset.path):
            features = store.load(dataset.path, name)
            content[name], present[name] = _unit(features.vectors, features.present), features.present
        if users is None:
            users = users_per_item(dataset.histories("train"), dataset.n_items)
        return cls(users[0], int(users[1]), content, present)


def users_per_item(train: Histories, n_items: int) -> tuple[np.ndarray, int]:
    """Count the users of each item (I,) int64, a repeated choice once; return it with the number of users that have a
    history."""
    counts, users = sum_users(UsersPerItem(n_items), train)
    return counts, int(users)


@dataclass(frozen=True)
class UsersPerItem:
    """What :func:`users_per_item` counts, to be summed over users."""

    n_items: int
    whole = True

    def of(self, histories: Histories) -> Sums:
        lengths = histories.lengths
        pairs = np.sort(np.repeat(np.arange(len(lengths)), lengths) * self.n_items + histories.items)
        distinct = pairs[np.diff(pairs, prepend=-1) > 0]
        return np.bincount(distinct % self.n_items, minlength=self.n_items), np.array((lengths > 0).sum())


class ListMetrics:
    """The metrics of lists that are added block by block, at each of the ascending ``ks``.

    ``n_items``: number of items that can be listed. The lists are measured on ``device``, and only values come back.

    novelty@k = mean over the items listed of -log2((n_i + 1) / (U + 1)): the self-information, in bits, of an item
    that n_i of U users had (Zhou et al., PNAS 2010; smoothed, so that items without users count as well).
    arp@k = mean over the items listed of n_i (Yin et al., VLDB 2012).
    ild-MODALITY@k = 1 - mean cosine over the pairs of items listed that have the modality (Smyth and McClure 2001).
    """

    def __init__(self, catalogue: Catalogue, ks: Sequence[int], n_items: int, device: torch.device | str) -> None:
        import torch

        device = torch.device(device)
        # MPS has no float64.
        self._ks, self._n_items, self._device = ks, n_items, torch.device("cpu") if device.type == "mps" else device
        popularity = torch.as_tensor(catalogue.popularity, device=self._device).double()
        self_information = np.log2(catalogue.users + 1) - (popularity + 1).log2()
        self._values_I = {"novelty": self_information, "arp": popularity}
        self._content = {
            name: (
                torch.as_tensor(vectors, device=self._device),
                torch.as_tensor(catalogue.comparable[name], device=self._device),
            )
            for name, vectors in catalogue.content.items()
        }
        self._counts_KI = torch.zeros(len(ks), n_items, dtype=torch.int64, device=self._device)
        names = [*self._values_I, *(f"{ILD}-{name}" for name in self._content)]
        self._per_list: dict[str, list[Tensor]] = {str(MetricAtK(name, k)): [] for name in names for k in ks}

    def add(self, items: Tensor) -> None:
        """Measure the lists ``items`` (B, K) int64, -1 where a list has ended."""
        items = items.to(self._device)
        listed = items >= 0
        n_listed = listed.cumsum(1)
        columns = [min(k, items.shape[1]) - 1 for k in self._ks]
        for name, values_I in self._values_I.items():
            sums = (values_I[items] * listed).cumsum(1)
            for k, column in zip(self._ks, columns, strict=True):
                self._per_list[str(MetricAtK(name, k))].append(_ratio(sums[:, column], n_listed[:, column]))
        for name, (vectors, comparable) in self._content.items():
            for k, values in zip(self._ks, _diversity(items, self._ks, vectors, comparable), strict=True):
                self._per_list[str(MetricAtK(f"{ILD}-{name}", k))].append(values)
        for counts_I, column in zip(self._counts_KI, columns, strict=True):
            top = items[:, : column + 1]
            counts_I += top[top >= 0].bincount(minlength=self._n_items)

    def per_list(self) -> dict[str, np.ndarray]:
        """Return the metrics of each list, in the order in which they were added; NaN for one that is too short."""
        none = np.empty(0)
        return {
            name: np.concatenate([none, *(values.cpu().numpy() for values in parts)])
            for name, parts in self._per_list.items()
        }

    def counts(self) -> dict[int, np.ndarray]:
        """Return how many lists of length k hold each item: k -> (I,) int64."""
        return dict(zip(self._ks, self._counts_KI.cpu().numpy(), strict=True))


def measure_catalogue(list_counts: Mapping[int, np.ndarray]) -> dict[str, float]:
    """Return the metrics of all lists together; ``list_counts``: k -> (I,) how many lists of length k hold the item.

    coverage@k = items that are in at least one list / I.
    gini@k = sum over j of (2 j - I - 1) c_(j) / (I sum c), c_(j) the j-th smallest count: 0 where every item is listed
    equally often, near 1 where few take all places. NaN where nothing is listed.
    """
    coverage = {str(MetricAtK("coverage", k)): float((counts > 0).mean()) for k, counts in list_counts.items()}
    return coverage | {str(MetricAtK("gini", k)): gini(counts) for k, counts in list_counts.items()}


def gini(counts: np.ndarray) -> float:
    """Return the Gini coefficient of ``counts`` (I,), zeros included; NaN if all are zero."""
    ordered = np.sort(counts).astype(np.float64)
    n, total = len(ordered), ordered.sum()
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * total)) if total else float("nan")


def _diversity(items: Tensor, ks: Sequence[int], vectors: Tensor, comparable: Tensor) -> list[Tensor]:
    """Return (B,) at each k. The mean cosine of the pairs of n unit vectors with sum s is (|s|^2 - n) / (n (n - 1)), so
    no pair is ever formed."""
    from torch.nn.functional import embedding_bag

    has_content = (items >= 0) & comparable[items]
    total = vectors.new_zeros(len(items), vectors.shape[1]).double()
    n, start, out = has_content.new_zeros(len(items)).long(), 0, []
    for k in ks:
        inside = has_content[:, start:k]
        lengths = inside.sum(1)
        total += embedding_bag(items[:, start:k][inside], vectors, lengths.cumsum(0) - lengths, mode="sum")
        n += lengths
        out.append(1.0 - _ratio(total.square().sum(1) - n, n * (n - 1)))
        start = k
    return out


def _ratio(over: Tensor, under: Tensor) -> Tensor:
    return (over / under).masked_fill(under == 0, float("nan"))


def _unit(vectors: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Subtract the mean of the rows that are present, and scale each row to length 1; in place and in blocks, because a
    copy of a large table may not fit into memory."""
    mean = vectors[present].mean(axis=0, dtype=np.float64).astype(np.float32) if present.any() else 0.0
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        rows = vectors[start : start + _ROWS_AT_ONCE]
        rows -= mean
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        rows /= np.where(lengths > 0, lengths, 1.0)
    vectors[~present] = 0.0
    return vectors
