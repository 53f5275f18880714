"""`demure report`: one self-contained HTML page."""

from __future__ import annotations

from typing import Annotated

import typer

from demure_cli.command import command, view
from demure_cli.options import CompareWith, On, RayWorkers, RunFolder, Truth, flag
from demure_cli.output.terminal import terminal
from demure_cli.places import WRITES_FILE


@command(view("report"))
def report(
    run: RunFolder,
    out: Annotated[str, typer.Option("--out", metavar="FILE.html", help="The page to write."), WRITES_FILE],
    compare: CompareWith = None,
    truth: Truth = None,
    recommend: Annotated[
        bool, flag("--recommend/--no-recommend", help="Include the recommended items of each user, with reasons.")
    ] = True,
    megabytes: Annotated[
        float,
        typer.Option(
            "--megabytes",
            min=3,
            metavar="MB",
            help="The largest size of the page. Users and pictures beyond it are left out.",
        ),
    ] = 9.5,
    on: On = "local",
    ray_workers: RayWorkers = None,
) -> object:
    """Write one HTML page about a run: charts, items to check, users and items. The page opens offline."""
    from demure.cluster.choose import open_executor
    from demure.report.build import report as build_report

    with (
        terminal.progress() as listener,
        open_executor(on, workers=ray_workers, device="cpu", listener=listener) as executor,
    ):
        return build_report(
            run,
            out,
            megabytes=megabytes,
            truth=truth,
            compare=compare or (),
            recommend=recommend,
            listener=listener,
            executor=executor,
        )
