"""The tables of `demure compare`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.text import Text

from demure_cli.output.formats import Formatted, write
from demure_cli.output.style import aside, count, facts, number, row, table
from demure_cli.output.terminal import terminal
from demure_cli.views.eval import difference, explained, p_value, paired_tests, short_names

if TYPE_CHECKING:
    import pandas as pd

    from demure.runs.evaluate import Compared

_WIDE = 118


def show(shown: Formatted) -> None:
    """Print a comparison in the form that was asked for."""
    result: Compared = shown.result
    if shown.form == "json":
        terminal.json(result)
    elif shown.form == "csv":
        write(result.comparison.table(), shown.form)
    elif shown.form != "table":
        write(_for_a_paper(result.comparison.table()), shown.form)
    else:
        _table(result)


def _table(result: Compared) -> None:
    comparison = result.comparison
    short = short_names([run for method in comparison.methods for run in method.runs])
    said = f"{result.split}, {count(comparison.users)} users with something to find"
    terminal.result(facts([("dataset", result.dataset), ("split", said)]), "", _methods(result, short))
    if comparison.against is None:
        terminal.result("", *paired_tests(comparison, short))
    else:
        reference = short.get(comparison.against, comparison.against)
        terminal.result(aside(f"difference: from {reference}"), *explained(comparison, short))


def _for_a_paper(table: pd.DataFrame) -> pd.DataFrame:
    """The same with intervals in one column, and p-values as they are printed."""
    shown = table.drop(columns=[name for name in table.columns if name.endswith(("low", "high"))])
    shown = shown.rename(columns={"effect": "d", "p_value": "p", "p_adjusted": "p (Holm)"})
    prefix = "difference_" if "difference_low" in table.columns else ""
    for after, start in (("mean", ""), ("difference", prefix)):
        if after in table.columns:
            bounds = zip(table[f"{start}low"], table[f"{start}high"], strict=True)
            told = ["" if low != low else f"{low:.4f} to {high:.4f}" for low, high in bounds]
            shown.insert(shown.columns.get_loc(after) + 1, f"95 % interval of the {after}", told)
    for column in ("p", "p (Holm)"):
        shown[column] = ["" if p != p else "<0.0001" if p < 0.0001 else f"{p:.4f}" for p in shown[column]]
    return shown


def _methods(result: Compared, short: Mapping[str, str]) -> Any:
    from demure.evaluation.metrics import METRICS

    comparison = result.comparison
    wide, tested = terminal.width >= _WIDE, comparison.against is not None
    columns: list[Any] = [("", {"overflow": "fold"})]
    columns += [">seeds", ">mean", ">sd of seeds", ">95 % interval"] if wide or not tested else [">mean"]
    columns += [">difference", ">95 % interval", ">effect", ">p (Holm)"] if tested else []
    shown = table(columns)
    tests = {(pair.metric, pair.first): pair for pair in comparison.pairs}
    for metric in comparison.methods[0].metrics:
        row(shown, Text(metric, style="bold"), *[""] * (len(columns) - 1))
        more_is_better = metric.rpartition("@")[0] in METRICS
        best = max(method.metrics[metric].mean for method in comparison.methods) if more_is_better else None
        for method in comparison.methods:
            mean = method.metrics[metric]
            value = Text(number(mean.mean), style="bold" if mean.mean == best else "")
            cells: list[Any] = [value]
            if wide or not tested:
                sd = "-" if mean.sd is None else number(mean.sd)
                cells = [count(len(method.runs)), value, sd, f"{mean.low:.4f} to {mean.high:.4f}"]
            if tested:
                test = tests.get((metric, method.name))
                cells += (
                    [""] * 4
                    if test is None
                    else [
                        difference(test),
                        f"{test.low:+.4f} to {test.high:+.4f}",
                        f"{test.effect:+.2f}",
                        p_value(test),
                    ]
                )
            row(shown, f" {short.get(method.name, method.name)}", *cells)
    return shown
