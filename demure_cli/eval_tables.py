"""The tables of `demure eval`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from demure_cli.looks import aside, count, facts, heading, number, row, table
from demure_cli.terminal import terminal

if TYPE_CHECKING:
    from demure.evaluation.compare import Comparison
    from demure.training.judge import Judgement

_SURE = 0.05
_PREFERRED = (20, 10, 50, 5)
_COLUMN = 11  # a metric's name, and the space before it


def show(result: Judgement) -> None:
    """Print the metrics of every run, one row per k, and the paired tests where there are several runs."""
    split, users = result.runs[0].split, result.runs[0].users
    if len(result.runs) == 1:
        judged = result.runs[0]
        said = f"{split}, {count(users)} users with something to find"
        terminal.result(facts([("run", judged.run), ("split", said)]), "", metrics_by_k(judged.metrics))
    else:
        short = short_names([judged.run for judged in result.runs])
        names = _fitting(list(result.runs[0].metrics), terminal.width - max(map(len, short.values())))
        shown = table([("run", {"overflow": "fold"}), *(f">{name}" for name in names)])
        for judged in result.runs:
            row(shown, short[judged.run], *(number(judged.metrics[name]) for name in names))
        terminal.result(heading(f"On {split}, over {count(users)} users with something to find"), shown)
        if result.comparison is not None:
            terminal.result("", *paired_tests(result.comparison, short))
    if result.per_user is not None:
        terminal.note(f"each user's metrics: {result.per_user}")


def short_names(runs: Sequence[str]) -> dict[str, str]:
    """Each run's path without the folders that all of them share."""
    parts = [Path(run).parts for run in runs]
    shared = 0
    while all(len(one) > shared + 1 and one[shared] == parts[0][shared] for one in parts):
        shared += 1
    return {run: str(Path(*one[shared:])) for run, one in zip(runs, parts, strict=True)}


def _fitting(names: list[str], width: int) -> list[str]:
    """Recall and NDCG at as many k as ``width`` columns hold, the usual ones first."""
    cuts = list(dict.fromkeys(int(name.split("@")[1]) for name in names))
    cuts.sort(key=lambda k: _PREFERRED.index(k) if k in _PREFERRED else len(_PREFERRED))
    room = max(1, width // (2 * _COLUMN))
    return [f"{metric}@{k}" for metric in ("recall", "ndcg") for k in sorted(cuts[:room])]


def metrics_by_k(metrics: dict[str, float]) -> Any:
    """``recall@20`` and the like as a table: a row per k, a column per metric."""
    names = list(dict.fromkeys(name.split("@")[0] for name in metrics))
    cuts = list(dict.fromkeys(int(name.split("@")[1]) for name in metrics if "@" in name))
    shown = table([">k", *(f">{name}" for name in names)])
    for k in cuts:
        row(shown, k, *(number(metrics.get(f"{name}@{k}", float("nan"))) for name in names))
    return shown


def paired_tests(comparison: Comparison, short: Mapping[str, str]) -> tuple[Any, ...]:
    """The paired tests as heading, table and legend; ``short``: what to call each run."""
    shown = table(["", ">difference", ">95 % interval", ">effect", ">p (Holm)"])
    metric = None
    for pair in comparison.pairs:
        sure = pair.p_adjusted < _SURE
        if pair.metric != metric:
            metric = pair.metric
            row(shown, Text(metric, style="bold"), *[""] * 4)
        row(
            shown,
            f" {short[pair.first]} - {short[pair.second]}",
            Text(f"{pair.difference:+.4f}", style="bold" if sure else ""),
            f"{pair.low:+.4f} to {pair.high:+.4f}",
            f"{pair.effect:+.2f}",
            ("<0.0001" if pair.p_adjusted < 0.0001 else f"{pair.p_adjusted:.4f}") + (" *" if sure else ""),
        )
    words = f"paired {comparison.test} tests over the same users; * p below {_SURE} after Holm's correction"
    return heading("Is the difference more than luck?"), shown, aside(words)
