"""`demure eval`: recall, NDCG and more by full ranking; with several runs, paired tests."""

from __future__ import annotations

from typing import Annotated

import typer

from demure_cli.command import command, view
from demure_cli.options import Cutoffs, Device, On, RayWorkers, Split, TableFormat
from demure_cli.output.terminal import terminal
from demure_cli.places import READS, WRITES_FILE


@command(view("eval"))
def eval_(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="One run folder or its URL, or several to compare."), READS
    ],
    split: Split = "test",
    k: Cutoffs = "5,10,20,50",
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            metavar="SLICING",
            help="Also evaluate slices of the users or items: items, users (each cold or warm), popularity, history, "
            "modalities, reliance, or all; separated by commas.",
        ),
    ] = None,
    per_user: Annotated[
        str | None,
        typer.Option("--per-user", metavar="FILE.parquet", help="Write the metrics of each user to this file."),
        WRITES_FILE,
    ] = None,
    form: TableFormat = "table",
    device: Device = "auto",
    on: On = "local",
    ray_workers: RayWorkers = None,
) -> object:
    """Evaluate runs: rank all items for every user who has a relevant item in the split."""
    from pathlib import Path

    from demure_cli.output.formats import Formatted, check_format
    from demure_cli.parsing import parse_cutoffs, split_words

    table_format, cutoffs = check_format(form), parse_cutoffs(k)
    from demure.cluster.choose import open_executor
    from demure.runs.evaluate import evaluate_runs

    with (
        terminal.progress() as listener,
        open_executor(on, workers=ray_workers, device=device, listener=listener) as executor,
    ):
        result = evaluate_runs(
            [Path(run) for run in runs],
            split=split,
            ks=cutoffs,
            by=split_words(by),
            per_user=None if per_user is None else Path(per_user),
            device=device,
            listener=listener,
            executor=executor,
        )
    return Formatted(result, table_format)
