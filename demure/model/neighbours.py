"""The collaborative channel ``id``: what items are taken together, near each other in time.

The expert is a kernel from item to item, K(i | j) proportional to c_ji n_i^-b, with c_ji the co-occurrences of j and
i over all users, each pair worth one over its distance in steps, half of that backwards; sources in the history weigh
age^-gamma. Order-aware item co-occurrence is the strong simple baseline of sequential recommendation (Ludewig and
Jannach, "Evaluation of session-based recommendation algorithms", UMUAI 2018). A user's own pairs never speak for an
item that is still new to the user, so nothing has to be left out when recommending.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse


def count_pairs(indptr: np.ndarray, items: np.ndarray, n_items: int, window: int, *, ordered: bool) -> sparse.csr_array:
    """c (I, I): row j, column i, over all users; pairs more than ``window`` positions apart are not counted."""
    user = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    shape = (n_items, n_items)
    total = sparse.csr_array(shape, dtype=np.float64)
    for gap in range(1, min(window, int(np.diff(indptr).max(initial=1)) - 1) + 1):
        pair = (user[gap:] == user[:-gap]) & (items[gap:] != items[:-gap])
        source, target = items[:-gap][pair], items[gap:][pair]
        forward, backward = (1.0 / gap, 0.5 / gap) if ordered else (1.0, 1.0)
        total = total + sparse.coo_array((np.full(len(source), forward), (source, target)), shape=shape).tocsr()
        total = total + sparse.coo_array((np.full(len(source), backward), (target, source)), shape=shape).tocsr()
    return total


@dataclass(frozen=True)
class Neighbours:
    """``counts`` (I, I) of :func:`count_pairs` and ``popularity`` (I,) interactions per item.

    ``exponent`` is b, ``fading`` gamma; ``smoothing`` pairs' worth of popularity are added to every row.
    """

    counts: sparse.csr_array
    popularity: np.ndarray
    exponent: float = 0.4
    fading: float = 1.0
    smoothing: float = 0.3

    def density(self, items_BT: np.ndarray, weight_BT: np.ndarray) -> np.ndarray:
        """p_id(i | history) (B, I), rows summing to 1, from sources ``items_BT`` weighted by ``weight_BT`` (0 =
        padding).

        A user without a history gets the popularity.
        """
        damped = (self.popularity + 1.0) ** -self.exponent
        share = (self.popularity + 1.0) / (self.popularity + 1.0).sum()
        rows = self.counts @ damped + self.smoothing
        B, T = items_BT.shape
        scaled = weight_BT / rows[items_BT]
        sources = sparse.csr_array(
            (scaled.ravel(), (np.repeat(np.arange(B), T), items_BT.ravel())), shape=(B, len(damped))
        )
        back_off = 0.05
        density = np.asarray((sources @ self.counts).todense()) * damped
        density += (self.smoothing * scaled.sum(1, keepdims=True) + back_off) * share
        return density / (weight_BT.sum(1, keepdims=True) + back_off)
