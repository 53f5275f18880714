"""`demure compare`: compare methods over users and seeds."""

from __future__ import annotations

from typing import Annotated, cast

import typer

from demure_cli.command import command, view
from demure_cli.options import Cutoffs, Device, Split, TableFormat, flag
from demure_cli.output.terminal import terminal
from demure_cli.places import LOCAL, READS


@command(view("compare"))
def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN...",
            help="Two or more run folders (one with --lists). Runs that differ only in their seed are one method.",
        ),
        READS,
    ],
    lists: Annotated[
        list[str] | None,
        typer.Option(
            "--lists",
            metavar="NAME=FILE",
            help="Recommendations of any other model, evaluated as the runs are: a table with user_id, item_id and "
            "rank or score, a TREC run, or a file of MMRec. Repeat it for more models; the same NAME is another seed.",
        ),
        LOCAL,
    ] = None,
    split: Split = "test",
    k: Cutoffs = "20",
    metrics: Annotated[
        list[str] | None,
        typer.Option(
            "--metrics",
            metavar="NAME,...",
            help="recall, ndcg, hit, mrr, map, precision, novelty, arp (average popularity of the recommended items) "
            "or ild-MODALITY (intra-list diversity by a modality); by default recall and ndcg.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="RUN|RECIPE",
            help="The method that all others are compared with; by default the first run.",
        ),
        READS,
    ] = None,
    all_pairs: Annotated[bool, flag("--all-pairs", help="Compare every pair of methods; ignores --against.")] = False,
    test: Annotated[str, typer.Option("--test", metavar="t|wilcoxon|permutation", help="The paired test.")] = "t",
    form: TableFormat = "table",
    device: Device = "auto",
) -> object:
    """Compare methods: means, intervals, effect sizes, and paired tests with Holm's correction.

    Users are the paired units; with several seeds, seeds as well.
    """
    from pathlib import Path

    from demure_cli.output.formats import Formatted, check_format
    from demure_cli.parsing import parse_cutoffs, parse_lists, split_words

    table_format, cutoffs, files = check_format(form), parse_cutoffs(k), parse_lists(lists)
    from demure.evaluation.stats import Test
    from demure.runs.evaluate import MAIN, compare_runs

    with terminal.progress() as listener:
        result = compare_runs(
            [Path(run) for run in runs],
            split=split,
            ks=cutoffs,
            metrics=split_words(metrics or MAIN),
            against=against,
            all_pairs=all_pairs,
            test=cast(Test, test),  # compare_runs refuses any other word
            lists=files,
            device=device,
            listener=listener,
        )
    return Formatted(result, table_format)
