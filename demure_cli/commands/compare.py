"""`demure compare`: methods next to each other, over users and seeds."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from demure_cli.command import Device, command, flag
from demure_cli.commands.eval import Form, Split, lengths, words
from demure_cli.output.terminal import terminal


def _show(result: Any) -> None:
    from demure_cli.views.compare import show

    show(result)


@command(_show)
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Two or more run folders; those of one recipe that differ in their seed are one method.",
        ),
    ],
    split: Split = "test",
    k: Annotated[str, typer.Option("--k", metavar="K,K,...", help="Lengths of the list, separated by commas.")] = "20",
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME,...",
            help="recall, ndcg, hit, mrr, map, precision, novelty, arp, ild-MODALITY; recall and ndcg if not said.",
        ),
    ] = None,
    against: Annotated[
        str | None, typer.Option(metavar="RUN|RECIPE", help="What all others are compared with; else the first run.")
    ] = None,
    all_pairs: Annotated[bool, flag("--all-pairs", help="Compare every two instead.")] = False,
    test: Annotated[str, typer.Option(metavar="t|wilcoxon|permutation", help="The paired test.")] = "t",
    form: Form = "table",
    device: Device = "auto",
) -> Any:
    """Compare methods: means, intervals, paired tests over users and seeds with Holm's correction, effect sizes."""
    from pathlib import Path

    from demure_cli.output.formats import Formatted, check_format

    chosen, ks = check_format(form), lengths(k)
    from demure.runs.evaluate import MAIN, compare_runs

    with terminal.progress() as listener:
        found = compare_runs(
            [Path(run) for run in runs],
            split=split,
            ks=ks,
            metrics=words(metrics or MAIN),
            against=against,
            all_pairs=all_pairs,
            test=test,
            device=device,
            listener=listener,
        )
    return Formatted(found, chosen)
