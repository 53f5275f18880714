"""`demure eval` and `demure compare`: judge finished runs by full ranking on a split, and compare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demure.errors import DemureError
from demure.evaluation.compare import Comparison, compare
from demure.evaluation.metrics import PER_USER, MetricAtK, find_metric
from demure.evaluation.ranking import DEFAULT_KS, check_ks
from demure.evaluation.stats import TESTS, Test
from demure.files import atomic_file
from demure.progress import Listener, silent
from demure.runs.per_user import write_per_user
from demure.runs.ranking import rank, read_manifests
from demure.runs.replicates import methods_of
from demure.runs.slices import SliceOfRun, check_by, reliance_of, slice_runs, slicings

if TYPE_CHECKING:
    import pandas as pd

MAIN = ("recall", "ndcg")


@dataclass(frozen=True)
class RunMetrics:
    """What one run reached: ``metrics`` are means over the ``users`` with something to find in the split."""

    run: str
    split: str
    users: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class RunEvaluations:
    """One or more runs on the same split, and paired tests where there are several. ``slices``: run -> its slices;
    ``relied_on``: the run that says what users rely on, where they are sliced by that."""

    runs: list[RunMetrics]
    comparison: Comparison | None = None
    per_user: str | None = None
    slices: dict[str, list[SliceOfRun]] | None = None
    relied_on: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON of interface.md for one run; for several, a list of those and the tests between them."""
        runs = [asdict(run) for run in self.runs]
        for told in runs if self.slices is not None else ():
            told["slices"] = [asdict(one) for one in (self.slices or {})[told["run"]]]
        if self.comparison is None:
            return runs[0]
        return {"split": self.runs[0].split, "runs": runs, "comparison": asdict(self.comparison)}

    def frame(self) -> pd.DataFrame:
        """One row per run, slice (``all`` of it first) and k, one column per metric."""
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for run in self.runs:
            sliced = (self.slices or {}).get(run.run, [])
            for by, name, users, metrics in (
                ("", "all", run.users, run.metrics),
                *((one.by, one.slice, one.users, one.metrics) for one in sliced),
            ):
                where = {"by": by, "slice": name} if self.slices is not None else {}
                rows += [{"run": run.run, **where, "users": users, "k": k, **row} for k, row in by_k(metrics).items()]
        return pd.DataFrame(rows)


@dataclass(frozen=True)
class Compared:
    """Methods next to each other on the same split of ``dataset``."""

    split: str
    dataset: str
    comparison: Comparison

    def to_dict(self) -> dict[str, Any]:
        return {"split": self.split, "dataset": self.dataset, **asdict(self.comparison)}


def by_k(metrics: Mapping[str, float]) -> dict[int, dict[str, float]]:
    """``{"recall@20": .3}`` as ``{20: {"recall": .3}}``, k ascending."""
    rows: dict[int, dict[str, float]] = {}
    for name, value in metrics.items():
        metric = MetricAtK.parse(name)
        rows.setdefault(metric.k, {})[metric.name] = value
    return dict(sorted(rows.items()))


def evaluate_runs(
    runs: Sequence[Path],
    *,
    split: str = "test",
    ks: Sequence[int] = DEFAULT_KS,
    by: Sequence[str] = (),
    per_user: Path | None = None,
    device: str = "auto",
    listener: Listener = silent,
) -> RunEvaluations:
    """Rank all items for each user with something in ``split``, without those of earlier splits, for every run.

    ``by``: slicings to measure as well, of ``demure.runs.slices.BY``, or ``all``. ``per_user`` is a Parquet file
    to write: run, user_id, every metric, and what users can be sliced by. Several runs are compared; those that
    differ in their seed alone as one method. Raises ``DemureError`` for an unknown split or slicing, a split that
    holds nothing, the same run twice, and runs that were not made from the same interactions and split.
    """
    wanted, cuts = check_by(by), check_ks(ks)
    if per_user is not None and per_user.suffix != ".parquet":
        raise DemureError("metrics per user go to a Parquet file", where=per_user, remedy="end its name in .parquet")
    methods = methods_of(read_manifests(runs))
    reliance = reliance_of(runs) if "reliance" in wanted or per_user is not None else None
    if "reliance" in by and reliance is None:
        remedy = "add a run that says what users rely on"
        raise DemureError("none of the runs has a diagnosis", where="--by reliance", remedy=remedy)
    ranked = rank(runs, split=split, ks=cuts, device=device, listener=listener)
    main = [str(MetricAtK(name, main_k(cuts))) for name in MAIN]
    told = None if reliance is None else reliance[1]
    sliced = None
    if wanted:
        made = slicings(wanted, ranked, told, skip="all" in by)
        sliced = slice_runs(ranked.evaluations, made, main)
    if per_user is not None:
        with atomic_file(per_user) as part:
            write_per_user(part, ranked, told)
    comparison = None
    if len(ranked.evaluations) > 1:
        comparison = compare(ranked.evaluations, main, methods=methods if len(methods) > 1 else None)
    return RunEvaluations(
        runs=[RunMetrics(name, split, len(found.users), found.means()) for name, found in ranked.evaluations.items()],
        comparison=comparison,
        per_user=None if per_user is None else str(per_user),
        slices=sliced,
        relied_on=reliance[0] if reliance is not None and "reliance" in wanted else None,
    )


def compare_runs(
    runs: Sequence[Path],
    *,
    split: str = "test",
    ks: Sequence[int] = (20,),
    metrics: Sequence[str] = MAIN,
    against: str | None = None,
    all_pairs: bool = False,
    test: Test = "t",
    device: str = "auto",
    listener: Listener = silent,
) -> Compared:
    """Compare methods on ``metrics`` (names without @k) at each of ``ks``: every other one with ``against`` (a run,
    or a method by name; the first where None), or, with ``all_pairs``, every two.

    Runs that differ in their seed alone are one method. Raises as ``evaluate_runs``, and for fewer than two methods.
    """
    cuts = check_ks(ks)
    _check_metrics(metrics)
    if test not in TESTS:
        raise DemureError(f"unknown test {test!r}", where="--test", remedy=f"use {', '.join(TESTS)}")
    methods = methods_of(read_manifests(runs))
    if len(methods) < 2:
        told = "they differ in their seed alone" if len(runs) > 1 else "a single run is given"
        raise DemureError(f"there is nothing to compare: {told}", where="compare", remedy="add runs of another recipe")
    reference = None
    if not all_pairs:
        known = {run: method for method, members in methods.items() for run in (method, *members)}
        reference = known.get(against) if against is not None else next(iter(methods))
        if reference is None:
            raise DemureError(f"no run {against!r}", where="--against", remedy=f"one of {', '.join(methods)}")
    ranked = rank(runs, split=split, ks=cuts, device=device, listener=listener)
    wanted = [str(MetricAtK(name, k)) for name in metrics for k in cuts]
    comparison = compare(ranked.evaluations, wanted, methods=methods, against=reference, test=test)
    return Compared(split, str(ranked.dataset.path), comparison)


def main_k(ks: Sequence[int]) -> int:
    """The k that tests and slices are shown at: 20, or the largest."""
    return 20 if 20 in ks else max(ks)


def _check_metrics(metrics: Sequence[str]) -> None:
    """Raise ``DemureError`` for a name that is not a metric with one value per user."""
    for name in metrics:
        metric = find_metric(name)
        if metric is None or metric.kind not in ("accuracy", "list"):
            overall = metric is not None and metric.kind == "catalogue"
            reason = "is one value for all users together" if overall else "is not a metric of a user"
            remedy = f"use {', '.join(PER_USER)} or ild-MODALITY"
            raise DemureError(f"{name!r} {reason}", where="--metrics", remedy=remedy)
