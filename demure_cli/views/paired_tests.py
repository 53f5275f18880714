"""Print paired tests between runs or methods: for `demure eval`, `compare` and `demo`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from demure_cli.output.style import aside, heading, interval, row, signed, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from demure.evaluation.compare import Comparison, PairedTest

SIGNIFICANT = 0.05


def short_names(runs: Sequence[str]) -> dict[str, str]:
    """Return each run's path without the folders that all runs share."""
    paths = [Path(run).parts for run in runs]
    shared = 0
    while all(len(parts) > shared + 1 and parts[shared] == paths[0][shared] for parts in paths):
        shared += 1
    return {run: str(Path(*parts[shared:])) for run, parts in zip(runs, paths, strict=True)}


def p_value(test: PairedTest) -> str:
    """Return the p-value after Holm's correction, with a star if it is significant."""
    value = "<0.0001" if test.p_adjusted < 0.0001 else f"{test.p_adjusted:.4f}"
    return value + (" *" if test.p_adjusted < SIGNIFICANT else "")


def difference(test: PairedTest) -> Text:
    """Return the difference with its sign, bold if it is significant."""
    return Text(signed(test.difference, 4), style="bold" if test.p_adjusted < SIGNIFICANT else "")


def cells_of_test(test: PairedTest) -> list[RenderableType]:
    """Return the cells of one test: difference, interval, effect size, p-value."""
    return [difference(test), interval(test.low, test.high, "+"), signed(test.effect), p_value(test)]


def paired_tests(comparison: Comparison, short: Mapping[str, str]) -> tuple[RenderableType, ...]:
    """Return the tests as heading, table and legend; ``short``: run -> its name in the table."""
    shown = table(["", ">difference", ">95 % interval", ">effect", ">p (Holm)"])
    metric = None
    for test in comparison.pairs:
        if test.metric != metric:
            metric = test.metric
            row(shown, Text(metric, style="bold"), *[""] * 4)
        names = f" {short.get(test.first, test.first)} - {short.get(test.second, test.second)}"
        row(shown, names, *cells_of_test(test))
    return heading("Paired tests of the differences"), shown, *legend_of_tests(comparison, short)


def legend_of_tests(comparison: Comparison, short: Mapping[str, str]) -> list[Text]:
    """Return the test that was used, and the runs of each method with several seeds."""
    seeds = [method for method in comparison.methods if len(method.runs) > 1]
    over = "the same users and the seeds" if seeds and comparison.test == "t" else "the same users"
    lines = [f"paired {comparison.test} tests over {over}; * p below {SIGNIFICANT} after Holm's correction"]
    lines += [f"{method.name}: {', '.join(short.get(run, run) for run in method.runs)}" for method in seeds]
    return [aside(line) for line in lines]
