"""`demure report`: one self-contained HTML page."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from demure_cli.command import Run, command, flag
from demure_cli.output.terminal import terminal


def _show(result: Any) -> None:
    from demure_cli.views.making import show_report

    show_report(result)


@command(_show)
def report(
    run: Run,
    out: Annotated[str, typer.Option(metavar="FILE.html", help="The page to write.")],
    compare: Annotated[
        list[str] | None,
        typer.Option(metavar="RUN", help="Show this run beside it, with paired tests; repeat it for more."),
    ] = None,
    truth: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="What caused each choice, where it is known (user_id, item_id, modality, caused): shows calibration.",
        ),
    ] = None,
    recommend: Annotated[
        bool, flag("--recommend/--no-recommend", help="What each user would be recommended, and why.")
    ] = True,
    megabytes: Annotated[
        float, typer.Option(min=3, help="How large the page may become; users and pictures beyond are left out.")
    ] = 9.5,
) -> Any:
    """Write one HTML page about a run: charts, items to look at, every user and every item. It opens offline."""
    from demure.report.build import report as build_report

    with terminal.progress() as listener:
        return build_report(
            run,
            out,
            megabytes=megabytes,
            truth=truth,
            compare=compare or (),
            recommend=recommend,
            listener=listener,
        )
