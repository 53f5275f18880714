"""Count which items are chosen near each other in time, over all users.

Shape suffixes: U users, N interactions, I items.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sparse

if TYPE_CHECKING:
    from demure.data.histories import Histories
    from demure.data.user_sums import Sums

_DENSE_ENTRIES = 16_000_000  # of a matrix that may be held whole
_PAIRS_AT_ONCE = 5_000_000  # listed before they are added up


@dataclass(frozen=True)
class PairCounts:
    """The co-occurrence counts c (I, I), row j and column i, dense where there are few items, else sparse.

    A pair counts gap^-``nearness`` with ``nearness`` above 0, half of that backwards, and not at all beyond ``window``
    positions; ``shared``: how far long histories are scaled down.
    """

    n_items: int
    window: int
    nearness: float
    shared: float
    whole = False

    def of(self, histories: Histories) -> Sums:
        length, n_items = histories.lengths, self.n_items
        items = histories.items.astype(np.int32)  # half the memory, here and in a sparse matrix
        user = histories.owners
        scale = length[user].astype(np.float64) ** -self.shared
        shape = (n_items, n_items)
        total: sparse.csr_array | np.ndarray = sparse.csr_array(shape, dtype=np.float64)
        if n_items**2 <= _DENSE_ENTRIES:
            total = np.zeros(shape)
        listed = 0
        parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        widest = min(self.window, int(length.max(initial=1)) - 1)
        for gap in range(1, widest + 1):
            pair = (user[gap:] == user[:-gap]) & (items[gap:] != items[:-gap])
            source, target, weight = items[:-gap][pair], items[gap:][pair], scale[gap:][pair] * gap**-self.nearness
            parts += [(source, target, weight), (target, source, weight / 2)]
            listed += len(weight)
            if listed > _PAIRS_AT_ONCE or gap == widest:
                rows, columns, values = (np.concatenate(part) for part in zip(*parts, strict=True))
                if isinstance(total, np.ndarray):
                    total += np.bincount(rows * n_items + columns, values, n_items**2).reshape(shape)
                else:
                    total = total + sparse.coo_array((values, (rows, columns)), shape=shape).tocsr()
                parts, listed = [], 0
        return (total,)
