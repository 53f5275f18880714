"""The tables of `demure eval`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.text import Text

from demure_cli.output.formats import Formatted, write
from demure_cli.output.style import aside, count, facts, heading, number, row, table
from demure_cli.output.terminal import terminal

if TYPE_CHECKING:
    from demure.evaluation.compare import Comparison, PairedTest
    from demure.runs.evaluate import RunEvaluations

_SURE = 0.05
_PREFERRED = (20, 10, 50, 5)
_COLUMN = 11  # a metric's name, and the space before it
_LIST_METRICS = ("coverage", "gini", "novelty", "arp")


def show(shown: Formatted) -> None:
    """Print a judgement in the form that was asked for."""
    result: RunEvaluations = shown.result
    if shown.form == "json":
        terminal.json(result)
    elif shown.form != "table":
        write(result.frame(), shown.form)
    elif len(result.runs) == 1:
        _one(result)
    else:
        _several(result)
    if result.per_user is not None:
        terminal.note(f"each user's metrics: {result.per_user}")


def _one(result: RunEvaluations) -> None:
    judged = result.runs[0]
    said = f"{judged.split}, {count(judged.users)} users with something to find"
    found, lists = _halves(judged.metrics)
    terminal.result(facts([("run", judged.run), ("split", said)]), "", metrics_by_k(found))
    if lists:
        terminal.result("", heading("What the lists are like"), metrics_by_k(lists), _legend(lists))
    _slices(result, {judged.run: ""})


def _several(result: RunEvaluations) -> None:
    """The metrics of every run, and the paired tests."""
    short = short_names([judged.run for judged in result.runs])
    names = _fitting(list(result.runs[0].metrics), terminal.width - max(map(len, short.values())))
    shown = table([("run", {"overflow": "fold"}), *(f">{name}" for name in names)])
    for judged in result.runs:
        row(shown, short[judged.run], *(number(judged.metrics[name]) for name in names))
    users = count(result.runs[0].users)
    terminal.result(heading(f"On {result.runs[0].split}, over {users} users with something to find"), shown)
    lists = [name for name in _halves(result.runs[0].metrics)[1] if name.endswith(f"@{_main(result)}")]
    if lists:
        shown = table([("run", {"overflow": "fold"}), *(f">{name}" for name in lists)])
        for judged in result.runs:
            row(shown, short[judged.run], *(_told(name, judged.metrics[name]) for name in lists))
        terminal.result("", heading("What the lists are like"), shown, _legend(lists))
    if result.comparison is not None:
        terminal.result("", *paired_tests(result.comparison, short))
    _slices(result, short)


def short_names(runs: Sequence[str]) -> dict[str, str]:
    """Each run's path without the folders that all of them share."""
    parts = [Path(run).parts for run in runs]
    shared = 0
    while all(len(one) > shared + 1 and one[shared] == parts[0][shared] for one in parts):
        shared += 1
    return {run: str(Path(*one[shared:])) for run, one in zip(runs, parts, strict=True)}


def _halves(metrics: Mapping[str, float]) -> tuple[dict[str, float], dict[str, float]]:
    """Those of what was found, and those of the lists."""
    of_lists = {name for name in metrics if name.startswith(_LIST_METRICS) or name.startswith("ild-")}
    return (
        {name: value for name, value in metrics.items() if name not in of_lists},
        {name: metrics[name] for name in sorted(of_lists, key=_list_order)},
    )


def _list_order(name: str) -> tuple[int, str, int]:
    metric, _, k = name.rpartition("@")
    return (_LIST_METRICS.index(metric) if metric in _LIST_METRICS else len(_LIST_METRICS), metric, int(k))


def _told(name: str, value: float) -> str:
    return number(value, 1 if name.startswith("arp") else 2 if name.startswith("novelty") else 4)


def _legend(names: Mapping[str, float] | Sequence[str]) -> Text:
    words = (
        "novelty: bits; arp: mean number of users who had what is listed; gini: 0 all items alike, 1 always the same"
    )
    diverse = any(name.startswith("ild-") for name in names)
    return aside(words + ("; ild: how unlike each other the items of a list are in that modality" if diverse else ""))


def _main(result: RunEvaluations) -> int:
    cuts = sorted({int(name.rpartition("@")[2]) for name in result.runs[0].metrics})
    return 20 if 20 in cuts else cuts[-1]


def _fitting(names: list[str], width: int) -> list[str]:
    """Recall and NDCG at as many k as ``width`` columns hold, the usual ones first."""
    cuts = list(dict.fromkeys(int(name.rpartition("@")[2]) for name in names))
    cuts.sort(key=lambda k: _PREFERRED.index(k) if k in _PREFERRED else len(_PREFERRED))
    room = max(1, width // (2 * _COLUMN))
    return [f"{metric}@{k}" for metric in ("recall", "ndcg") for k in sorted(cuts[:room])]


def metrics_by_k(metrics: Mapping[str, float]) -> Any:
    """``recall@20`` and the like as a table: a row per k, a column per metric."""
    names = list(dict.fromkeys(name.rpartition("@")[0] for name in metrics))
    cuts = list(dict.fromkeys(int(name.rpartition("@")[2]) for name in metrics if "@" in name))
    shown = table([">k", *(f">{name}" for name in names)])
    for k in cuts:
        row(shown, k, *(_told(name, metrics.get(f"{name}@{k}", float("nan"))) for name in names))
    return shown


def p_value(test: PairedTest) -> str:
    """The p-value after Holm's correction, starred where it is small."""
    told = "<0.0001" if test.p_adjusted < 0.0001 else f"{test.p_adjusted:.4f}"
    return told + (" *" if test.p_adjusted < _SURE else "")


def difference(test: PairedTest) -> Text:
    """The difference with its sign, bold where it is more than luck."""
    return Text(f"{test.difference:+.4f}", style="bold" if test.p_adjusted < _SURE else "")


def paired_tests(comparison: Comparison, short: Mapping[str, str]) -> tuple[Any, ...]:
    """The paired tests as heading, table and legend; ``short``: what to call each run."""
    shown = table(["", ">difference", ">95 % interval", ">effect", ">p (Holm)"])
    metric = None
    for pair in comparison.pairs:
        if pair.metric != metric:
            metric = pair.metric
            row(shown, Text(metric, style="bold"), *[""] * 4)
        row(
            shown,
            f" {short.get(pair.first, pair.first)} - {short.get(pair.second, pair.second)}",
            difference(pair),
            f"{pair.low:+.4f} to {pair.high:+.4f}",
            f"{pair.effect:+.2f}",
            p_value(pair),
        )
    return heading("Is the difference more than luck?"), shown, *explained(comparison, short)


def explained(comparison: Comparison, short: Mapping[str, str]) -> list[Text]:
    """What was tested, and which runs are one method."""
    seeds = [method for method in comparison.methods if len(method.runs) > 1]
    over = "the same users and the seeds" if seeds and comparison.test == "t" else "the same users"
    words = [f"paired {comparison.test} tests over {over}; * p below {_SURE} after Holm's correction"]
    words += [f"{method.name}: {', '.join(short.get(run, run) for run in method.runs)}" for method in seeds]
    return [aside(line) for line in words]


def _slices(result: RunEvaluations, short: Mapping[str, str]) -> None:
    if result.slices is None:
        return
    k = _main(result)
    recall, ndcg = f"recall@{k}", f"ndcg@{k}"
    several = len(result.runs) > 1
    wide = terminal.width >= 110
    columns = ["", ">users", ">relevant", f">{recall}", *([">95 % interval"] * wide), f">{ndcg}", ">95 % interval"]
    columns += [">difference", ">95 % interval"] if several and wide else [] if several else [f">exposure@{k}"]
    shown = table(columns)
    blank = [""] * (len(columns) - 1)
    by = None
    for at, one in enumerate(result.slices[result.runs[0].run]):
        if one.by != by:
            by = one.by
            row(shown, Text(by, style="bold"), *blank)
        if several:
            row(shown, f" {one.slice}", count(one.users), count(one.relevant), *blank[2:])
        for run in result.runs:
            part = result.slices[run.run][at]
            first = (
                [f"  {short[run.run]}", "", ""] if several else [f" {one.slice}", count(one.users), count(one.relevant)]
            )
            cells = [number(part.metrics[recall]), *([_bounds(part.intervals[recall])] * wide)]
            cells += [number(part.metrics[ndcg]), _bounds(part.intervals[ndcg])]
            if several and wide:
                apart = part.differences.get(ndcg)
                cells += ["", ""] if apart is None else [f"{apart.value:+.4f}", _bounds(apart, sign="+")]
            elif not several:
                cells.append(number(part.metrics.get(f"exposure@{k}", float("nan"))))
            row(shown, *first, *cells)
    words = ["relevant: items to find"]
    if not several:
        words[0] += "; exposure: share of the places in all lists that the slice's items take"
    elif wide:
        words[0] += f"; difference: in {ndcg} from the first run"
    if result.relied_on is not None:
        words.append(f"reliance: what {short.get(result.relied_on) or result.relied_on} says users rely on most")
    terminal.result("", heading("For whom, and for what"), shown, *map(aside, words))


def _bounds(interval: Any, sign: str = "") -> str:
    return f"{interval.low:{sign}.4f} to {interval.high:{sign}.4f}"
