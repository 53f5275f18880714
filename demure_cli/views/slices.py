"""Print the slices of `demure eval --by`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.text import Text

from demure_cli.output.style import aside, count, heading, interval, number, row, signed, table
from demure_cli.output.terminal import terminal

if TYPE_CHECKING:
    from demure.runs.evaluate import RunEvaluations
    from demure.runs.slices import Interval, RunSlice

_ROOMY = 110


def show_slices(result: RunEvaluations, short: Mapping[str, str]) -> None:
    """Print a row per slice, or per slice and run; nothing if there are no slices. ``short``: run -> its name."""
    if result.slices is None:
        return
    from demure_cli.views.eval import main_k

    k = main_k(result.runs[0].metrics)
    recall, ndcg, exposure = f"recall@{k}", f"ndcg@{k}", f"exposure@{k}"
    several, roomy = len(result.runs) > 1, terminal.width >= _ROOMY
    columns = ["", ">users", ">relevant", f">{recall}", *([">95 % interval"] * roomy), f">{ndcg}", ">95 % interval"]
    columns += [f">{exposure}"] if not several else [">difference", ">95 % interval"] if roomy else []
    shown = table(columns)
    blank = [""] * (len(columns) - 1)
    slicing = None
    for parts in zip(*(result.slices[run.run] for run in result.runs), strict=True):
        first: RunSlice = parts[0]
        if first.by != slicing:
            slicing = first.by
            row(shown, Text(slicing, style="bold"), *blank)
        size = [f" {first.slice}", count(first.users), count(first.relevant)]
        if several:
            row(shown, *size, *blank[2:])
        for run, part in zip(result.runs, parts, strict=True):
            cells: list[object] = [f"  {short[run.run]}", "", ""] if several else [*size]
            cells += [number(part.metrics[recall]), *([_bounds(part.intervals[recall])] * roomy)]
            cells += [number(part.metrics[ndcg]), _bounds(part.intervals[ndcg])]
            if not several:
                cells.append(number(part.metrics.get(exposure, float("nan"))))
            elif roomy:
                change = part.differences.get(ndcg)
                cells += ["", ""] if change is None else [signed(change.value, 4), _bounds(change, "+")]
            row(shown, *cells)
    terminal.result("", heading("Metrics by slice"), shown, *_legends(result, short, ndcg, roomy=roomy))


def _legends(result: RunEvaluations, short: Mapping[str, str], ndcg: str, *, roomy: bool) -> list[Text]:
    legend = "relevant: number of relevant items"
    if len(result.runs) == 1:
        legend += "; exposure: share of the places in all lists that the items of the slice take"
    elif roomy:
        legend += f"; difference: in {ndcg} from the first run"
    legends = [legend]
    if result.relied_on is not None:
        run = short.get(result.relied_on) or result.relied_on
        legends.append(f"reliance: the modality that the user relies on most, according to {run}")
    return [aside(line) for line in legends]


def _bounds(bounds: Interval, sign: str = "") -> str:
    return interval(bounds.low, bounds.high, sign)
