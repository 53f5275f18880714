"""Print the result of `demure eval`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from rich.text import Text

from demure_cli.output.formats import Formatted, write
from demure_cli.output.style import aside, count, facts, heading, number, percent, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.paired_tests import paired_tests, short_names
from demure_cli.views.slices import show_slices
from demure_cli.views.verdicts import sentences

if TYPE_CHECKING:
    from rich.table import Table

    from demure.runs.evaluate import RunEvaluations

_PREFERRED = (20, 10, 50, 5)
_COLUMN = 11  # the width of a metric's name, and a space


def show(shown: Formatted[RunEvaluations]) -> None:
    """Print an evaluation in the requested format."""
    result = shown.result
    if shown.form == "json":
        terminal.json(result)
    elif shown.form != "table":
        write(result.frame(), shown.form)
    elif len(result.runs) == 1:
        _show_run(result)
    else:
        _show_runs(result)
    if result.per_user is not None:
        terminal.note(f"metrics of each user: {result.per_user}")


def _show_run(result: RunEvaluations) -> None:
    run = result.runs[0]
    accuracy, lists = _by_kind(run.metrics)
    split = f"{run.split}, {count(run.users)} users with relevant items"
    terminal.result(
        *sentences([_sentence(run.metrics)]),
        "",
        facts([("split", split), ("run", run.run)]),
        "",
        metrics_by_k(run.metrics, accuracy),
    )
    if lists:
        terminal.result("", heading("Properties of the lists"), metrics_by_k(run.metrics, lists), _legend(lists))
    show_slices(result, {run.run: ""})


def _sentence(metrics: Mapping[str, float]) -> str:
    """Return recall and NDCG of one run in words."""
    k = main_k(metrics)
    recall = f"The first {k} recommended items hold {percent(metrics[f'recall@{k}'])} of the held-out items of a user"
    return f"{recall} (recall@{k}); NDCG@{k} is {number(metrics[f'ndcg@{k}'])}."


def best_methods(values: Mapping[str, Mapping[str, float]]) -> str:
    """Return which method is best by each metric, in a sentence; ``values``: metric -> method -> value."""
    parts = []
    for metric, by_method in values.items():
        best = max(by_method.values())
        names = [name for name, value in by_method.items() if value == best]
        parts.append(f"{metric} {number(best)} ({' and '.join(names)})")
    return f"Best: {', '.join(parts)}."


def _show_runs(result: RunEvaluations) -> None:
    """Print the metrics of every run, and the paired tests."""
    from demure.evaluation.metrics import MetricAtK

    short = short_names([run.run for run in result.runs])
    first = result.runs[0]
    names = _fitting(first.metrics, terminal.width - max(map(len, short.values())))
    title = f"On {first.split}, over {count(first.users)} users with relevant items"
    main = main_k(first.metrics)
    best = {
        name: {short[run.run]: run.metrics[name] for run in result.runs} for name in (f"recall@{main}", f"ndcg@{main}")
    }
    terminal.result(*sentences([best_methods(best)]), "", heading(title), _metrics_by_run(result, names, short))
    lists = [name for name in _by_kind(first.metrics)[1] if MetricAtK.parse(name).k == main]
    if lists:
        properties = _metrics_by_run(result, lists, short, with_k=False)
        terminal.result("", heading(f"Properties of the lists of {main} items"), properties, _legend(lists))
    if result.comparison is not None:
        terminal.result("", *paired_tests(result.comparison, short))
    show_slices(result, short)


def _metrics_by_run(
    result: RunEvaluations, names: list[str], short: Mapping[str, str], *, with_k: bool = True
) -> Table:
    headings = [name if with_k else name.partition("@")[0] for name in names]
    shown = table(["run", *(f">{heading}" for heading in headings)])
    for run in result.runs:
        row(shown, short[run.run], *(_value(name, run.metrics[name]) for name in names))
    return shown


def _by_kind(metrics: Iterable[str]) -> tuple[list[str], list[str]]:
    """Divide the names into accuracy metrics, and metrics of the lists in the order of the table of metrics."""
    from demure.evaluation.metrics import METRICS, MetricAtK

    order = list(METRICS)
    parsed = {name: MetricAtK.parse(name) for name in metrics}
    lists = [name for name, at_k in parsed.items() if at_k.metric.kind != "accuracy"]
    lists.sort(key=lambda name: (order.index(parsed[name].metric.name), parsed[name].name, parsed[name].k))
    return [name for name in parsed if name not in lists], lists


def _value(name: str, value: float) -> str:
    from demure.evaluation.metrics import MetricAtK

    return number(value, MetricAtK.parse(name).metric.digits)


def _legend(names: Iterable[str]) -> Text:
    legend = (
        "novelty: mean self-information of the items, in bits; arp: mean number of users of the items; gini: 0 if all "
        "items are listed equally often, 1 if one item takes all places"
    )
    diverse = any(name.startswith("ild-") for name in names)
    return aside(legend + ("; ild: mean distance between the items of a list in that modality" if diverse else ""))


def main_k(metrics: Iterable[str]) -> int:
    """Return the cutoff that slices and list metrics are shown at: 20, or the largest."""
    from demure.evaluation.metrics import cutoffs

    ks = cutoffs(metrics)
    return 20 if 20 in ks else ks[-1]


def _fitting(names: Iterable[str], width: int) -> list[str]:
    """Return recall and NDCG at as many k as ``width`` columns hold, the usual ones first."""
    from demure.evaluation.metrics import MetricAtK, cutoffs

    ks = cutoffs(names)
    ks.sort(key=lambda k: _PREFERRED.index(k) if k in _PREFERRED else len(_PREFERRED))
    room = max(1, width // (2 * _COLUMN))
    return [str(MetricAtK(metric, k)) for metric in ("recall", "ndcg") for k in sorted(ks[:room])]


def metrics_by_k(metrics: Mapping[str, float], names: Iterable[str]) -> Table:
    """Return the metrics ``names``, such as ``recall@20``, as a table: a row per k, a column per metric."""
    from demure.evaluation.metrics import MetricAtK, cutoffs

    names = list(names)
    columns = list(dict.fromkeys(MetricAtK.parse(name).name for name in names))
    shown = table([">k", *(f">{name}" for name in columns)])
    for k in cutoffs(names):
        keys = [str(MetricAtK(name, k)) for name in columns]
        row(shown, k, *(_value(key, metrics.get(key, float("nan"))) for key in keys))
    return shown
