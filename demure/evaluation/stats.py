"""Test differences: paired tests and bootstrap intervals over users, and over seeds where there are several.

Legend: a sample is (S, n): a metric of n users under S trainings that differ only in their seed. Users are the same in
all samples; the seeds of one sample are independent of the seeds of another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Test = Literal["t", "wilcoxon", "permutation"]
TESTS: tuple[Test, ...] = ("t", "wilcoxon", "permutation")
_DRAWS_AT_ONCE = 4_000_000
_MOST_VALUES = 20_000


@dataclass(frozen=True)
class Difference:
    """Mean ``difference`` of two samples with the bounds of its 95 % bootstrap interval; ``effect``: Cohen's d for
    pairs, the mean difference over the standard deviation of the users' differences; ``p_value``: two-sided."""

    difference: float
    low: float
    high: float
    effect: float
    p_value: float


def difference(
    first: np.ndarray, second: np.ndarray, test: Test, *, resamples: int, random: np.random.Generator
) -> Difference:
    """Test ``first`` minus ``second``, samples (S, n) and (T, n)."""
    users = first.mean(axis=0) - second.mean(axis=0)
    seeds = [sample.mean(axis=1) for sample in (first, second)]
    spread = users.std(ddof=1) if len(users) > 1 else 0.0
    low, high = bootstrap_interval(users, seeds, resamples=resamples, random=random)
    return Difference(
        difference=float(users.mean()),
        low=low,
        high=high,
        effect=float(users.mean() / spread) if spread > 0 else 0.0,
        p_value=t_test(users, seeds) if test == "t" else paired_p_value(users, test, resamples, random),
    )


def t_test(users: np.ndarray, seeds: list[np.ndarray]) -> float:
    """Return the two-sided p-value of the mean of ``users`` (n,), the differences of two samples whose means per seed
    are ``seeds``.

    t = mean / sqrt(v), v = var(users) / n + the sum over samples of var(seeds) / S, each with its sample variance,
    and the degrees of freedom of Welch and Satterthwaite (Satterthwaite, Biometrics 1946): v^2 / (sum of each part^2
    / its own). With one seed each this is the paired t test over users. With more, the variance between seeds adds to
    the variance between users; a sample of one seed adds nothing, because its variance cannot be estimated. Returns 1
    where nothing differs, and for a single user, whose spread cannot be estimated.
    """
    from scipy import stats

    if len(users) < 2 or not users.any():
        return 1.0
    variance, freedom = _variance(users, seeds)
    if variance <= (1e-12 * np.abs(users).max()) ** 2:
        return 0.0
    return float(2 * stats.t.sf(abs(users.mean()) / np.sqrt(variance), freedom))


def _variance(users: np.ndarray, seeds: list[np.ndarray]) -> tuple[float, float]:
    """Return v of ``t_test`` and its degrees of freedom, for two users or more."""
    parts = [(users.var(ddof=1) / len(users), len(users) - 1)]
    parts += [(means.var(ddof=1) / len(means), len(means) - 1) for means in seeds if len(means) > 1]
    total = float(sum(part for part, _ in parts))
    return total, total**2 / float(sum(part**2 / own for part, own in parts)) if total else 1.0


def paired_p_value(differences: np.ndarray, test: Test, resamples: int, random: np.random.Generator) -> float:
    """Return the two-sided p-value of ``differences`` (n,) by Wilcoxon's signed ranks or by random signs; the seeds are
    taken as fixed."""
    from scipy import stats

    if len(differences) < 2 or not differences.any():
        return 1.0
    if test == "wilcoxon":
        return float(stats.wilcoxon(differences, zero_method="pratt").pvalue)
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


def holm(p_values: np.ndarray) -> np.ndarray:
    """Return the p-values after Holm's step-down correction: the r-th smallest of n (from 0) becomes the maximum over
    q <= r of (n - q) p_(q), at most 1."""
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def bootstrap_interval(
    users: np.ndarray,
    seeds: list[np.ndarray] | None = None,
    *,
    resamples: int,
    random: np.random.Generator,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the percentile interval of the mean of ``users`` (n,) under resampled users and seeds.

    Users with equal values are drawn together: a draw is a multinomial count over the distinct values. It has the same
    distribution as n single draws, and its cost grows with the number of distinct values, which is small for ranking
    metrics (more than 20,000 values are rounded to four decimals). Two or three seeds are too few to resample, so each
    sample of S seeds, of which ``seeds`` holds the means, adds a normal draw of variance var / S, and the bounds are
    then moved away from the mean by the ratio of Student's t, with the degrees of freedom of ``t_test``, to the normal
    distribution.
    """
    from scipy import stats

    values, counts = np.unique(users, return_counts=True)
    if len(values) > _MOST_VALUES:
        values, counts = np.unique(users.round(4), return_counts=True)
    at_once = max(1, _DRAWS_AT_ONCE // len(values))
    n = len(users)
    means = np.concatenate(
        [
            random.multinomial(n, counts / n, size=min(at_once, resamples - done)) @ values / n
            for done in range(0, resamples, at_once)
        ]
    )
    several = [own for own in seeds or [] if len(own) > 1]
    for own in several:
        means = means + random.normal(0.0, own.std(ddof=1) / np.sqrt(len(own)), resamples)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    if several and n > 1:
        upper = (1 + level) / 2
        wider = stats.t.ppf(upper, _variance(users, several)[1]) / stats.norm.ppf(upper)
        middle = users.mean()
        low, high = middle + wider * (low - middle), middle + wider * (high - middle)
    return float(low), float(high)
