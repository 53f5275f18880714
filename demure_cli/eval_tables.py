"""The tables of `demure eval`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from demure_cli.looks import aside, count, facts, heading, number, row, table
from demure_cli.terminal import terminal

if TYPE_CHECKING:
    from demure.evaluation.compare import Comparison
    from demure.training.judge import Judgement

_SURE = 0.05


def show(result: Judgement) -> None:
    """Print the metrics of every run, one row per k, and the paired tests where there are several runs."""
    split, users = result.runs[0].split, result.runs[0].users
    if len(result.runs) == 1:
        judged = result.runs[0]
        said = f"{split}, {count(users)} users with something to find"
        terminal.result(facts([("run", judged.run), ("split", said)]), "", metrics_by_k(judged.metrics))
    else:
        terminal.result(heading(f"On {split}, over {count(users)} users with something to find"))
        names = [name for name in result.runs[0].metrics if name.split("@")[0] in ("recall", "ndcg")]
        shown = table([("run", {"overflow": "fold"}), *(f">{name}" for name in names)])
        for judged in result.runs:
            row(shown, judged.run, *(number(judged.metrics[name]) for name in names))
        terminal.result(shown)
    if result.comparison is not None:
        terminal.result("", *_tests(result.comparison))
    if result.per_user is not None:
        terminal.note(f"each user's metrics: {result.per_user}")


def metrics_by_k(metrics: dict[str, float]) -> object:
    """``recall@20`` and the like as a table: a row per k, a column per metric."""
    names = list(dict.fromkeys(name.split("@")[0] for name in metrics))
    cuts = list(dict.fromkeys(int(name.split("@")[1]) for name in metrics if "@" in name))
    shown = table([">k", *(f">{name}" for name in names)])
    for k in cuts:
        row(shown, k, *(number(metrics.get(f"{name}@{k}", float("nan"))) for name in names))
    return shown


def _tests(comparison: Comparison) -> tuple[object, ...]:
    shown = table(["metric", "pair", ">difference", ">95 % interval", ">effect", ">p (Holm)"])
    for pair in comparison.pairs:
        sure = pair.p_adjusted < _SURE
        row(
            shown,
            pair.metric,
            f"{pair.first} - {pair.second}",
            Text(f"{pair.difference:+.4f}", style="bold" if sure else ""),
            f"{pair.low:+.4f} to {pair.high:+.4f}",
            f"{pair.effect:+.2f}",
            ("<0.0001" if pair.p_adjusted < 0.0001 else f"{pair.p_adjusted:.4f}") + (" *" if sure else ""),
        )
    words = f"paired {comparison.test} tests over the same users; * p below {_SURE} after Holm's correction"
    return heading("Is the difference more than luck?"), shown, aside(words)
