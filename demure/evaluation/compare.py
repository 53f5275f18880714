"""Is the difference between two scorers more than luck? Paired tests over the same users.

Every pair of scorers is compared on every metric asked for. Within a metric, the p-values of all pairs are corrected
together (Holm 1979), so that the chance of a single false alarm in that column of the table stays below the level.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np

from demure.errors import DemureError

if TYPE_CHECKING:
    import pandas as pd

    from demure.evaluation.ranking import Evaluation

Test = Literal["t", "wilcoxon", "permutation"]
_DRAWS_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class PairedTest:
    """``first`` minus ``second`` on one metric, over the users of both.

    ``low`` and ``high`` bound the 95 % bootstrap interval of the mean difference; ``effect`` is Cohen's d for pairs
    (mean difference / standard deviation of the differences); ``p_adjusted`` is ``p_value`` after Holm's correction.
    """

    metric: str
    first: str
    second: str
    difference: float
    low: float
    high: float
    effect: float
    p_value: float
    p_adjusted: float


@dataclass(frozen=True)
class Comparison:
    """Means per scorer and every paired test between them."""

    users: int
    test: Test
    means: dict[str, dict[str, float]]
    pairs: list[PairedTest]

    def frame(self) -> pd.DataFrame:
        """One row per paired test, columns named as in ``PairedTest``."""
        import pandas as pd

        return pd.DataFrame([vars(pair) for pair in self.pairs], columns=list(PairedTest.__dataclass_fields__))


def compare(
    evaluations: dict[str, Evaluation],
    metrics: Sequence[str] | None = None,
    *,
    test: Test = "t",
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Test every pair of two or more evaluations over the same users.

    ``metrics`` defaults to all that the evaluations share; ``resamples`` is the number of bootstrap draws, and of sign
    flips where ``test`` is "permutation". Raises ``DemureError`` for fewer than two evaluations, for different users,
    and for a metric that one of them lacks.
    """
    if len(evaluations) < 2:
        raise DemureError(f"{len(evaluations)} evaluation given", where="compare", remedy="give two or more")
    if test not in ("t", "wilcoxon", "permutation"):
        raise DemureError(f"unknown test {test!r}", where="compare", remedy="use t, wilcoxon or permutation")
    users = _same_users(evaluations)
    names = _shared_metrics(evaluations, metrics)
    random = np.random.default_rng(seed)
    pairs: list[PairedTest] = []
    for metric in names:
        found = []
        for first, second in combinations(evaluations, 2):
            differences = evaluations[first].per_user[metric] - evaluations[second].per_user[metric]
            low, high = bootstrap_interval(differences, resamples=resamples, random=random)
            p_value = paired_p_value(differences, test, resamples=resamples, random=random)
            found.append((first, second, float(differences.mean()), low, high, _effect(differences), p_value))
        adjusted = holm(np.array([row[-1] for row in found]))
        pairs += [PairedTest(metric, *row, p_adjusted=float(p)) for row, p in zip(found, adjusted, strict=True)]
    return Comparison(
        users=len(users),
        test=test,
        means={name: {m: evaluation.means()[m] for m in names} for name, evaluation in evaluations.items()},
        pairs=pairs,
    )


def paired_p_value(differences: np.ndarray, test: Test, *, resamples: int, random: np.random.Generator) -> float:
    """Two-sided p-value of differences (n,) against a mean ("wilcoxon": a median) of zero.

    1 where nothing differs, and where a single user leaves nothing to estimate the spread from.
    """
    from scipy import stats

    if len(differences) < 2 or not differences.any():
        return 1.0
    if test == "wilcoxon":
        return float(stats.wilcoxon(differences, zero_method="pratt").pvalue)
    if test == "permutation":
        return float(
            stats.permutation_test(
                (differences, np.zeros_like(differences)),
                lambda a, b, axis: np.mean(a - b, axis=axis),
                permutation_type="samples",
                vectorized=True,
                n_resamples=resamples,
                batch=max(1, _DRAWS_AT_ONCE // len(differences)),
                rng=random,
            ).pvalue
        )
    if np.ptp(differences) == 0:
        return 0.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Holm's step-down correction: the r-th smallest of n (from 0) is max over q <= r of (n - q) p_(q), at most 1."""
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def bootstrap_interval(
    differences: np.ndarray, *, resamples: int, random: np.random.Generator, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean of ``differences`` (n,) when users are drawn anew with replacement.

    Users with equal differences are drawn together: a draw is a multinomial count over the distinct values, which has
    the same distribution as n single draws and costs as many as there are distinct values: few, for ranking metrics.
    """
    values, counts = np.unique(differences, return_counts=True)
    at_once = max(1, _DRAWS_AT_ONCE // len(values))
    n = len(differences)
    means = np.concatenate(
        [
            random.multinomial(n, counts / n, size=min(at_once, resamples - done)) @ values / n
            for done in range(0, resamples, at_once)
        ]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _effect(differences: np.ndarray) -> float:
    spread = differences.std(ddof=1) if len(differences) > 1 else 0.0
    return float(differences.mean() / spread) if spread > 0 else 0.0


def _same_users(evaluations: dict[str, Evaluation]) -> np.ndarray:
    reference, first = next(iter(evaluations.items()))
    for name, evaluation in evaluations.items():
        if not np.array_equal(evaluation.users, first.users):
            apart = len(np.setxor1d(evaluation.users, first.users))
            raise DemureError(
                f"{name} was judged on {len(evaluation.users)} users and {reference} on {len(first.users)}, "
                f"{apart} not shared",
                where="compare",
                remedy="paired tests need the same dataset and split",
            )
    if not len(first.users):
        raise DemureError("no user has a relevant item", where="compare", remedy="choose another split")
    return first.users


def _shared_metrics(evaluations: dict[str, Evaluation], metrics: Sequence[str] | None) -> list[str]:
    first = next(iter(evaluations.values()))
    names = list(metrics) if metrics is not None else list(first.per_user)
    for metric in names:
        without = [name for name, evaluation in evaluations.items() if metric not in evaluation.per_user]
        if without:
            raise DemureError(
                f"no {metric} for {', '.join(without)}",
                where="compare",
                remedy=f"ask for one of {', '.join(first.per_user)}",
            )
    return names
