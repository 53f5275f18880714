"""Print the result of `demure compare`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.text import Text

from demure_cli.output.formats import Formatted, write
from demure_cli.output.style import aside, count, facts, heading, interval, number, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.eval import best_methods
from demure_cli.views.paired_tests import cells_of_test, legend_of_tests, paired_tests, short_names
from demure_cli.views.verdicts import sentences

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from demure.runs.evaluate import RunComparison

_ROOMY = 118


def show(shown: Formatted[RunComparison]) -> None:
    """Print a comparison in the requested format."""
    result = shown.result
    if shown.form in ("csv", "markdown", "latex"):
        terminal.notes(result.notes())
    if shown.form == "json":
        terminal.json(result)
    elif shown.form == "csv":
        write(result.comparison.table(), shown.form)
    elif shown.form != "table":
        write(_for_a_paper(result.comparison.table()), shown.form)
    else:
        _show_table(result)


def _show_table(result: RunComparison) -> None:
    from demure.evaluation.metrics import MetricAtK

    comparison = result.comparison
    files = {check.file for check in result.lists}
    short = short_names([run for method in comparison.methods for run in method.runs if run not in files])
    lists = {check.name for check in result.lists}
    short = {run: name for run, name in short.items() if name not in lists}
    split = f"{result.split}, {count(comparison.users)} users with relevant items"
    best = {
        metric: {short.get(method.name, method.name): method.metrics[metric].mean for method in comparison.methods}
        for metric in comparison.methods[0].metrics
        if MetricAtK.parse(metric).metric.higher_is_better
    }
    terminal.result(*(sentences([best_methods(best)]) if best else ()), *([""] if best else []))
    terminal.result(facts([("split", split), ("dataset", result.dataset)]), "", _methods(result, short))
    if comparison.against is None:
        terminal.result("", *paired_tests(comparison, short))
    else:
        reference = short.get(comparison.against, comparison.against)
        terminal.result(aside(f"difference: from {reference}"), *legend_of_tests(comparison, short))
    if result.lists:
        notes = result.notes() or ["Every user has a list, without items that the user had before"]
        terminal.result("", heading("Lists of other models"), *sentences(f"{note}." for note in notes))


def _for_a_paper(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table with each interval in one column, and p-values as papers print them."""
    shown = frame.drop(columns=[name for name in frame.columns if name.endswith(("low", "high"))])
    shown = shown.rename(columns={"effect": "d", "p_value": "p", "p_adjusted": "p (Holm)"})
    prefix = "difference_" if "difference_low" in frame.columns else ""
    for column, start in (("mean", ""), ("difference", prefix)):
        if column in frame.columns:
            bounds = zip(frame[f"{start}low"], frame[f"{start}high"], strict=True)
            texts = ["" if low != low else interval(low, high) for low, high in bounds]
            shown.insert(list(shown.columns).index(column) + 1, f"95 % interval of the {column}", texts)
    for column in ("p", "p (Holm)"):
        shown[column] = ["" if p != p else "<0.0001" if p < 0.0001 else f"{p:.4f}" for p in shown[column]]
    return shown


def _methods(result: RunComparison, short: Mapping[str, str]) -> Table:
    """Return a row per metric and method; the best value is bold where higher is better."""
    from demure.evaluation.metrics import MetricAtK

    comparison = result.comparison
    roomy, tested = terminal.width >= _ROOMY, comparison.against is not None
    with_seeds = roomy or not tested
    columns = [">seeds", ">mean", ">sd of seeds", ">95 % interval"] if with_seeds else [">mean"]
    columns += [">difference", ">95 % interval", ">effect", ">p (Holm)"] if tested else []
    shown = table([("", {"overflow": "fold"}), *columns])
    tests = {(test.metric, test.first): test for test in comparison.pairs}
    for metric in comparison.methods[0].metrics:
        row(shown, Text(metric, style="bold"), *[""] * len(columns))
        best = None
        if MetricAtK.parse(metric).metric.higher_is_better:
            best = max(method.metrics[metric].mean for method in comparison.methods)
        for method in comparison.methods:
            mean = method.metrics[metric]
            cells: list[object] = [Text(number(mean.mean), style="bold" if mean.mean == best else "")]
            if with_seeds:
                sd = "-" if mean.sd is None else number(mean.sd)
                cells = [count(len(method.runs)), *cells, sd, interval(mean.low, mean.high)]
            if tested:
                test = tests.get((metric, method.name))
                cells += [""] * 4 if test is None else cells_of_test(test)
            row(shown, f" {short.get(method.name, method.name)}", *cells)
    return shown
