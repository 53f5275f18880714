"""The result of `demure data show`: what is in a dataset folder, and what in it deserves a second look."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from demure.data.dataset import Dataset
from demure.data.describe.coverage import Coverage, coverage
from demure.data.describe.lookalikes import Lookalikes, find_lookalikes
from demure.data.describe.sessions import Sessions, Suspect, sessions, suspects
from demure.data.leakage import Leaks
from demure.progress import Listener, Progress, silent

_STAGES = 4


@dataclass(frozen=True)
class Bin:
    """``count`` users or items have from ``least`` to ``most`` interactions."""

    least: int
    most: int
    count: int


@dataclass(frozen=True)
class Lengths:
    """How many interactions the users have, or the items: quantiles, bins that double, and how unevenly they lie.

    ``top_share``: share of all interactions that the busiest hundredth has. ``gini``: 0 all alike, 1 all at one.
    """

    median: float
    mean: float
    p90: float
    p99: float
    longest: int
    top_share: float
    gini: float
    bins: list[Bin]


@dataclass(frozen=True)
class Description:
    """What ``describe`` found. ``span``: first and last time, seconds since 1970; ``months``: interactions by month."""

    dataset: Path
    counts: dict[str, int]
    density: float
    histories: Lengths
    popularity: Lengths
    span: tuple[float, float] | None
    months: dict[str, int]
    leaks: Leaks | None
    coverage: Coverage
    lookalikes: Lookalikes
    sessions: Sessions | None
    suspects: list[Suspect]

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**asdict(self), "dataset": str(self.dataset)}


def describe(path: Path, gap_minutes: float = 30, listener: Listener = silent) -> Description:
    """Look at a dataset folder; a session ends where its user does nothing for ``gap_minutes``.

    Raises ``DatasetError`` if it cannot be loaded.
    """
    listener(Progress("read", 0, _STAGES))
    dataset = Dataset.load(path)
    everything = dataset.histories("train", "valid", "test")
    per_item = np.bincount(everything.items, minlength=dataset.n_items)
    listener(Progress("modalities", 1, _STAGES))
    covered = coverage(dataset)
    listener(Progress("lookalikes", 2, _STAGES))
    alike = find_lookalikes(dataset)
    listener(Progress("visits", 3, _STAGES))
    times = everything.times
    leaks = dataset.manifest.get("leaks")
    found = Description(
        dataset=Path(path),
        counts={name: int(value) for name, value in dataset.manifest["counts"].items()},
        density=len(everything.items) / max(1, dataset.n_users * dataset.n_items),
        histories=lengths(everything.lengths),
        popularity=lengths(per_item),
        span=None if times is None else (float(times.min()), float(times.max())),
        months={} if times is None else _months(times),
        leaks=None if leaks is None else Leaks(**leaks),
        coverage=covered,
        lookalikes=alike,
        sessions=None if times is None else sessions(everything, gap_minutes),
        suspects=suspects(everything, dataset.user_ids, dataset.n_items),
    )
    listener(Progress("visits", _STAGES, _STAGES))
    return found


def lengths(counts: np.ndarray) -> Lengths:
    """``counts`` (n,) interactions of each user or item."""
    ordered = np.sort(counts)
    n, total = len(ordered), max(1, int(ordered.sum()))
    top = ordered[-max(1, n // 100) :].sum() / total
    gini = 2 * float((np.arange(1, n + 1) * ordered).sum()) / (n * total) - (n + 1) / n
    edges = [0, 1]
    while edges[-1] <= ordered[-1]:
        edges.append(2 * edges[-1])
    held = np.diff(np.searchsorted(ordered, edges))
    bins = [Bin(a, b - 1, int(c)) for a, b, c in zip(edges[:-1], edges[1:], held, strict=True)]
    bins = bins[next((k for k, one in enumerate(bins) if one.count), 0) :]
    median, p90, p99 = (float(one) for one in np.quantile(ordered, [0.5, 0.9, 0.99]))
    return Lengths(median, total / n, p90, p99, int(ordered[-1]), float(top), max(0.0, gini), bins)


def _months(times: np.ndarray) -> dict[str, int]:
    month = np.floor(times).astype("datetime64[s]").astype("datetime64[M]")
    first = month.min()
    held = np.bincount((month - first).astype(np.int64))
    return {str(first + np.timedelta64(k, "M")): int(n) for k, n in enumerate(held)}
