"""Build histories from lists."""

import numpy as np

from demure.data.histories import Histories


def histories(lists, times=True):
    """Return histories of the item indices of each user, in order; with ``times``, one second apart."""
    lengths = [len(items) for items in lists]
    return Histories(
        indptr=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        items=np.array([item for items in lists for item in items], dtype=np.int64),
        times=np.arange(sum(lengths), dtype=np.float64) if times else None,
    )
