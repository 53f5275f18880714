"""`demure data show`: statistics of a dataset folder, and conspicuous items and users."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from demure.data.dataset import Dataset
from demure.data.describe.coverage import Coverage, measure_coverage
from demure.data.describe.lookalikes import Lookalikes, find_lookalikes
from demure.data.describe.sessions import Sessions, Suspect, find_suspects, measure_sessions
from demure.data.leakage import LeakCounts
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
    """The distribution of the number of interactions per user, or per item.

    ``top_share``: share of all interactions of the busiest hundredth. ``gini``: the Gini coefficient, 0 if all have the
    same number, 1 if one has all. ``bins``: a histogram whose bins double in width.
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
    """The result of ``describe``.

    ``histories`` and ``popularity``: interactions per user and per item. ``span``: first and last time, seconds since
    1970. ``months``: interactions by month.
    """

    dataset: Path
    counts: dict[str, int]
    density: float
    histories: Lengths
    popularity: Lengths
    span: tuple[float, float] | None
    months: dict[str, int]
    leaks: LeakCounts | None
    coverage: Coverage
    lookalikes: Lookalikes
    sessions: Sessions | None
    suspects: list[Suspect]

    def to_dict(self) -> dict[str, Any]:
        """Return the description as JSON has it."""
        return {**asdict(self), "dataset": str(self.dataset)}


def describe(path: Path, gap_minutes: float = 30, listener: Listener = silent) -> Description:
    """Describe a dataset folder; a session ends where its user does nothing for ``gap_minutes``.

    Raises ``DatasetError`` if the folder cannot be loaded.
    """
    listener(Progress("read", 0, _STAGES))
    dataset = Dataset.load(path)
    histories = dataset.histories("train", "valid", "test")
    listener(Progress("modalities", 1, _STAGES))
    coverage = measure_coverage(dataset)
    listener(Progress("lookalikes", 2, _STAGES))
    lookalikes = find_lookalikes(dataset)
    listener(Progress("sessions", 3, _STAGES))
    times = histories.times
    description = Description(
        dataset=Path(path),
        counts=dataset.manifest.counts.to_dict(),
        density=len(histories.items) / max(1, dataset.n_users * dataset.n_items),
        histories=summarize_lengths(histories.lengths),
        popularity=summarize_lengths(np.bincount(histories.items, minlength=dataset.n_items)),
        span=None if times is None else (float(times.min()), float(times.max())),
        months={} if times is None else _count_by_month(times),
        leaks=dataset.manifest.leaks,
        coverage=coverage,
        lookalikes=lookalikes,
        sessions=None if times is None else measure_sessions(histories, gap_minutes),
        suspects=find_suspects(histories, dataset.user_ids, dataset.n_items),
    )
    listener(Progress("sessions", _STAGES, _STAGES))
    return description


def summarize_lengths(counts: np.ndarray) -> Lengths:
    """Return the distribution of ``counts`` (n,), the numbers of interactions of each user or item."""
    ordered = np.sort(counts)
    n, total = len(ordered), max(1, int(ordered.sum()))
    top_share = ordered[-max(1, n // 100) :].sum() / total
    gini = 2 * float((np.arange(1, n + 1) * ordered).sum()) / (n * total) - (n + 1) / n
    edges = [0, 1]
    while edges[-1] <= ordered[-1]:
        edges.append(2 * edges[-1])
    sizes = np.diff(np.searchsorted(ordered, edges))
    bins = [Bin(low, high - 1, int(size)) for low, high, size in zip(edges[:-1], edges[1:], sizes, strict=True)]
    bins = bins[next((k for k, first in enumerate(bins) if first.count), 0) :]
    median, p90, p99 = (float(quantile) for quantile in np.quantile(ordered, [0.5, 0.9, 0.99]))
    return Lengths(median, total / n, p90, p99, int(ordered[-1]), float(top_share), max(0.0, gini), bins)


def _count_by_month(times: np.ndarray) -> dict[str, int]:
    month = np.floor(times).astype("datetime64[s]").astype("datetime64[M]")
    first = month.min()
    counts = np.bincount((month - first).astype(np.int64))
    return {str(first + np.timedelta64(k, "M")): int(n) for k, n in enumerate(counts)}
