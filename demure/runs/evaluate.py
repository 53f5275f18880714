"""`demure eval` and `demure compare`: evaluate finished runs by full ranking on a split, and compare them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demure.cluster.executor import LOCAL, Executor
from demure.errors import DemureError
from demure.evaluation.compare import Comparison, compare
from demure.evaluation.metrics import PER_USER, MetricAtK, find_metric
from demure.evaluation.ranking import DEFAULT_KS, check_ks
from demure.evaluation.stats import TESTS, Test
from demure.files import atomic_file
from demure.progress import Listener, silent
from demure.runs.foreign_lists import ListsCheck, add_methods, evaluate_lists, read_foreign_lists
from demure.runs.per_user import write_per_user
from demure.runs.ranking import rank_runs, read_manifests
from demure.runs.replicates import group_replicates
from demure.runs.slices import RunSlice, build_slicings, check_slicings, read_reliance, slice_runs

if TYPE_CHECKING:
    import pandas as pd

MAIN = ("recall", "ndcg")
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunMetrics:
    """The ``metrics`` of one run: means over the ``users`` with a relevant item in the split."""

    run: str
    split: str
    users: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class RunEvaluations:
    """One or more runs on the same split, and paired tests where there are several.

    ``per_user``: the file of metrics per user; ``slices``: run -> its slices; ``relied_on``: the run whose diagnosis
    gives the users' reliance, where they are sliced by that.
    """

    runs: list[RunMetrics]
    comparison: Comparison | None = None
    per_user: str | None = None
    slices: dict[str, list[RunSlice]] | None = None
    relied_on: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return what `demure eval --json` prints: an object for one run; a list and the tests between several runs."""
        runs = [asdict(run) for run in self.runs]
        if self.slices is not None:
            for run in runs:
                run["slices"] = [asdict(part) for part in self.slices[run["run"]]]
        if self.comparison is None:
            return runs[0]
        return {"split": self.runs[0].split, "runs": runs, "comparison": asdict(self.comparison)}

    def frame(self) -> pd.DataFrame:
        """Return one row per run, slice (``all`` users first) and k, with a column per metric."""
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for run in self.runs:
            parts = (self.slices or {}).get(run.run, [])
            for by, name, users, metrics in (
                ("", "all", run.users, run.metrics),
                *((part.by, part.slice, part.users, part.metrics) for part in parts),
            ):
                labels = {"by": by, "slice": name} if self.slices is not None else {}
                for k, row in group_by_k(metrics).items():
                    rows.append({"run": run.run, **labels, "users": users, "k": k, **row})
        return pd.DataFrame(rows)


@dataclass(frozen=True)
class RunComparison:
    """Methods compared on the same split of ``dataset``; ``lists``: what holds of the files of lists among them."""

    split: str
    dataset: str
    comparison: Comparison
    lists: list[ListsCheck] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON of `demure compare`."""
        lists = {"lists": [asdict(check) for check in self.lists]} if self.lists else {}
        return {"split": self.split, "dataset": self.dataset, **asdict(self.comparison), **lists}

    def notes(self) -> list[str]:
        """Return what is odd about the lists, in sentences that start with their name."""
        files: dict[str, list[str]] = {}
        for check in self.lists:
            files.setdefault(check.name, []).append(check.file)

        def label(check: ListsCheck) -> str:
            own = files[check.name]
            return f"{check.name}, file {own.index(check.file) + 1}" if len(own) > 1 else check.name

        return [f"{label(check)}: {note}" for check in self.lists for note in check.notes]


def group_by_k(metrics: Mapping[str, float]) -> dict[int, dict[str, float]]:
    """Return ``{"recall@20": .3}`` as ``{20: {"recall": .3}}``, k ascending."""
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
    executor: Executor = LOCAL,
) -> RunEvaluations:
    """Rank all items for each user with a relevant item in ``split``, without items of earlier splits, for every run.

    ``by``: slicings to measure as well, of ``demure.runs.slices.BY``, or ``all``. ``per_user``: a Parquet file to
    write, with run, user_id, every metric, and what users can be sliced by. Several runs are compared; those that
    differ in their seed alone count as one method. ``executor``: where the users are evaluated. Raises ``DemureError``
    for an unknown split or slicing, an empty split, the same run twice, and runs that were not made from the same
    interactions and split.
    """
    names, cuts = check_slicings(by), check_ks(ks)
    if per_user is not None and per_user.suffix != ".parquet":
        raise DemureError("metrics per user go to a Parquet file", where=per_user, remedy="end its name in .parquet")
    manifests = read_manifests(runs)
    methods = group_replicates(manifests)
    source = reliance = None
    if "reliance" in names or per_user is not None:
        source, reliance = read_reliance(manifests)
    if "reliance" in by and reliance is None:
        remedy = "add a run that says what users rely on"
        raise DemureError("none of the runs has a diagnosis", where="--by reliance", remedy=remedy)
    ranked = rank_runs(runs, split=split, ks=cuts, device=device, listener=listener, executor=executor)
    for name, evaluation in ranked.evaluations.items():
        means = evaluation.means()
        logger.info("evaluated %s for %d users of %s", name, len(evaluation.users), split, extra={"metrics": means})
    main = [str(MetricAtK(name, main_k(cuts))) for name in MAIN]
    slices = None
    if names:
        slicings = build_slicings(names, ranked, reliance, skip="all" in by)
        slices = slice_runs(ranked.evaluations, slicings, main)
    if per_user is not None:
        with atomic_file(per_user) as part:
            write_per_user(part, ranked, reliance)
    comparison = None
    if len(ranked.evaluations) > 1:
        comparison = compare(ranked.evaluations, main, methods=methods if len(methods) > 1 else None)
    return RunEvaluations(
        runs=[
            RunMetrics(name, split, len(evaluation.users), evaluation.means())
            for name, evaluation in ranked.evaluations.items()
        ],
        comparison=comparison,
        per_user=None if per_user is None else str(per_user),
        slices=slices,
        relied_on=source if "reliance" in names else None,
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
    lists: Sequence[tuple[str, Path]] = (),
    device: str = "auto",
    listener: Listener = silent,
) -> RunComparison:
    """Compare methods on ``metrics`` (names without @k) at each of ``ks``.

    ``lists``: (method, file) of models that demure did not train, whose ranked lists are in the file; several files of
    one method are its seeds.

    Every method is compared with ``against`` (a run, or a method by name; the first where None), or, with
    ``all_pairs``, with every other.

    Runs that differ in their seed alone are one method. Raises as ``evaluate_runs``, and for fewer than two methods.
    """
    cuts = check_ks(ks)
    _check_metrics(metrics)
    if test not in TESTS:
        raise DemureError(f"unknown test {test!r}", where="--test", remedy=f"use {', '.join(TESTS)}")
    manifests = read_manifests(runs)
    files = read_foreign_lists(lists, manifests, listener)
    methods = add_methods(group_replicates(manifests), files)
    if len(methods) < 2:
        reason = "they differ in their seed alone" if len(runs) > 1 else "a single run is given"
        raise DemureError(
            f"there is nothing to compare: {reason}",
            where="compare",
            remedy="add runs of another recipe, or --lists NAME=FILE",
        )
    reference = None
    if not all_pairs:
        method_of = {run: method for method, members in methods.items() for run in (method, *members)}
        reference = method_of.get(against) if against is not None else next(iter(methods))
        if reference is None:
            raise DemureError(f"no run {against!r}", where="--against", remedy=f"one of {', '.join(methods)}")
    ranked = rank_runs(runs, split=split, ks=cuts, device=device, listener=listener)
    evaluations, checks = evaluate_lists(files, ranked, split, cuts, listener)
    names = [str(MetricAtK(name, k)) for name in metrics for k in cuts]
    comparison = compare({**ranked.evaluations, **evaluations}, names, methods=methods, against=reference, test=test)
    return RunComparison(split, str(ranked.dataset.path), comparison, checks)


def main_k(ks: Sequence[int]) -> int:
    """Return the k of tests and slices: 20, or the largest."""
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
