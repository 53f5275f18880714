"""`demure report`: one self-contained HTML page."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from demure_cli.common import Run, command
from demure_cli.terminal import terminal


def _show(result: Any) -> None:
    from demure_cli.making_tables import show_report

    show_report(result)


@command(_show)
def report(
    run: Run,
    out: Annotated[str, typer.Option(metavar="FILE.html", help="The page to write.")],
    megabytes: Annotated[
        float, typer.Option(min=6, help="How large the page may become; users and pictures beyond are left out.")
    ] = 9.5,
) -> Any:
    """Write one HTML page about a run: charts, flagged items, every user's history. It opens offline."""
    from demure.report.build import report as build_report

    with terminal.progress() as listener:
        return build_report(run, out, megabytes=megabytes, listener=listener)
