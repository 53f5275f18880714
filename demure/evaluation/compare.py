"""Compare methods by paired tests over the same users, and over seeds.

A method is one evaluation, or several evaluations of trainings that differ only in their seed. Within a metric, the
p-values of all pairs are corrected together (Holm 1979), so that the chance of a single false alarm in that column of
the table stays below the level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from demure.errors import DemureError
from demure.evaluation.stats import TESTS, Test, bootstrap_interval, difference, holm

if TYPE_CHECKING:
    import pandas as pd

    from demure.evaluation.ranking import Evaluation


@dataclass(frozen=True)
class Mean:
    """A metric's mean over users and seeds, its 95 % bootstrap interval, and the standard deviation of the seeds' means
    (None for a single one)."""

    mean: float
    low: float
    high: float
    sd: float | None


@dataclass(frozen=True)
class Method:
    """One or more evaluations that differ only in their seed: their names ``runs`` and the mean of each metric."""

    name: str
    runs: list[str]
    metrics: dict[str, Mean]


@dataclass(frozen=True)
class PairedTest:
    """``first`` minus ``second`` on one metric, over the users of both.

    ``low`` and ``high`` bound the 95 % bootstrap interval of the mean difference; ``effect`` is Cohen's d for pairs
    (mean difference / standard deviation of the users' differences); ``p_adjusted`` is ``p_value`` after Holm's
    correction. ``demure.evaluation.stats`` explains how several seeds enter.
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
    """Every method's means and the paired tests between methods; ``against``: the method that all others are compared
    with, None where every pair is compared."""

    users: int
    test: Test
    methods: list[Method]
    pairs: list[PairedTest]
    against: str | None = None

    def frame(self) -> pd.DataFrame:
        """Return one row per paired test, columns named as in ``PairedTest``."""
        import pandas as pd

        return pd.DataFrame([vars(pair) for pair in self.pairs], columns=list(PairedTest.__dataclass_fields__))

    def table(self) -> pd.DataFrame:
        """Return one row per metric and method, with its difference from ``against``; where that is None, one row per
        metric and pair."""
        import pandas as pd

        means = {(metric, method.name): mean for method in self.methods for metric, mean in method.metrics.items()}
        if self.against is None:
            frame = self.frame()
            for position, side in ((3, "first"), (4, "second")):
                keys = zip(frame["metric"], frame[side], strict=True)
                frame.insert(position, f"{side}_mean", [means[key].mean for key in keys])
            return frame
        tests = {(pair.metric, pair.first): vars(pair) for pair in self.pairs}
        columns = {"difference": "difference", "low": "difference_low", "high": "difference_high"}
        columns |= {name: name for name in ("effect", "p_value", "p_adjusted")}
        rows = []
        for metric in self.methods[0].metrics:
            for method in self.methods:
                test = tests.get((metric, method.name), {})
                differences = {name: test.get(key, float("nan")) for key, name in columns.items()}
                row = {"metric": metric, "method": method.name, "runs": len(method.runs)}
                rows.append(row | vars(means[metric, method.name]) | differences)
        return pd.DataFrame(rows).astype({"sd": float})


def compare(
    evaluations: Mapping[str, Evaluation],
    metrics: Sequence[str] | None = None,
    *,
    methods: Mapping[str, Sequence[str]] | None = None,
    against: str | None = None,
    test: Test = "t",
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Test every pair of two or more methods over the same users, or every other method against ``against``.

    ``methods``: name -> the evaluations that are its seeds; each evaluation is its own method where None. ``metrics``
    defaults to all metrics that the evaluations share. A user with NaN in one evaluation is left out of that metric.
    ``resamples`` is the number of bootstrap draws, and of sign flips where ``test`` is "permutation".

    Raises ``DemureError`` for fewer than two methods, for different users, for a metric that an evaluation lacks, and
    for an ``against`` that is not a method.
    """
    if len(evaluations) < 2:
        raise DemureError(f"{len(evaluations)} evaluation given", where="compare", remedy="give two or more")
    if test not in TESTS:
        raise DemureError(f"unknown test {test!r}", where="compare", remedy="use t, wilcoxon or permutation")
    members = {name: list(runs) for name, runs in (methods or {name: [name] for name in evaluations}).items()}
    if against is not None and against not in members:
        raise DemureError(f"no method {against!r}", where="compare", remedy=f"one of {', '.join(members)}")
    users = _same_users(evaluations)
    random = np.random.default_rng(seed)
    means: dict[str, dict[str, Mean]] = {name: {} for name in members}
    tests: list[PairedTest] = []
    for metric in _shared_metrics(evaluations, metrics):
        samples = _samples(evaluations, members, metric)
        for name, sample in samples.items():
            means[name][metric] = _mean(sample, resamples, random)
        others = [(name, against) for name in members if name != against] if against is not None else None
        pairs = list(combinations(members, 2)) if others is None else others
        differences = [difference(samples[a], samples[b], test, resamples=resamples, random=random) for a, b in pairs]
        adjusted = holm(np.array([own.p_value for own in differences]))
        tests += [
            PairedTest(metric, *pair, **vars(own), p_adjusted=float(p))
            for pair, own, p in zip(pairs, differences, adjusted, strict=True)
        ]
    return Comparison(
        users=len(users),
        test=test,
        methods=[Method(name, runs, means[name]) for name, runs in members.items()],
        pairs=tests,
        against=against,
    )


def _samples(
    evaluations: Mapping[str, Evaluation], members: Mapping[str, Sequence[str]], metric: str
) -> dict[str, np.ndarray]:
    """Return each method's values (S, n), of S seeds and the n users that have a value in every evaluation."""
    samples = {name: np.stack([evaluations[run].per_user[metric] for run in runs]) for name, runs in members.items()}
    complete = ~np.isnan(np.concatenate(list(samples.values()))).any(axis=0)
    if not complete.any():
        raise DemureError(
            f"no user has a value of {metric}", where="compare", remedy="choose other metrics or a larger k"
        )
    return {name: sample[:, complete] for name, sample in samples.items()}


def _mean(sample: np.ndarray, resamples: int, random: np.random.Generator) -> Mean:
    seeds = sample.mean(axis=1)
    low, high = bootstrap_interval(sample.mean(axis=0), [seeds], resamples=resamples, random=random)
    return Mean(float(seeds.mean()), low, high, float(seeds.std(ddof=1)) if len(seeds) > 1 else None)


def _same_users(evaluations: Mapping[str, Evaluation]) -> np.ndarray:
    reference, first = next(iter(evaluations.items()))
    for name, evaluation in evaluations.items():
        if not np.array_equal(evaluation.users, first.users):
            not_shared = len(np.setxor1d(evaluation.users, first.users))
            raise DemureError(
                f"{name} was evaluated on {len(evaluation.users)} users and {reference} on {len(first.users)}, "
                f"{not_shared} not shared",
                where="compare",
                remedy="paired tests need the same dataset and split",
            )
    if not len(first.users):
        raise DemureError("no user has a relevant item", where="compare", remedy="choose another split")
    return first.users


def _shared_metrics(evaluations: Mapping[str, Evaluation], metrics: Sequence[str] | None) -> list[str]:
    first = next(iter(evaluations.values()))
    names = list(metrics) if metrics is not None else list(first.per_user)
    for metric in names:
        without = [name for name, evaluation in evaluations.items() if metric not in evaluation.per_user]
        if without:
            overall = f"{metric} is one value for all users together, so there is nothing to pair"
            raise DemureError(
                overall if metric in first.overall else f"no {metric} for {', '.join(without)}",
                where="compare",
                remedy=f"use one of {', '.join(first.per_user)}",
            )
    return names
