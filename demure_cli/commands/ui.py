"""`demure ui`: the report of a run, served from this machine."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from demure_cli.command import Run, command, flag
from demure_cli.output.terminal import terminal


def _show(result: Any) -> None:
    terminal.result(result.url)
    if not result.loopback:
        terminal.note("anyone who can reach this machine can read it: leave out --host to keep it to yourself")
    terminal.note("Ctrl-C ends it")
    result.serve()


@command(_show, kept="the page is no longer served", json=False)
def ui(
    run: Run,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Where to listen; by default this machine alone can ask.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes any that is free.")] = 8000,
    compare: Annotated[list[str] | None, typer.Option(metavar="RUN", help="Show this run beside it; repeat.")] = None,
    truth: Annotated[
        str | None, typer.Option(metavar="FILE", help="What caused each choice, where it is known.")
    ] = None,
    open_: Annotated[bool, flag("--open", help="Open it in the browser.")] = False,
) -> Any:
    """Serve the pages of a run locally: every user and every item, also of runs too large for one file."""
    from demure.web.serve import site

    with terminal.progress() as listener:
        found = site(run, host=host, port=port, truth=truth, compare=compare or (), listener=listener)
    if open_:
        import webbrowser

        webbrowser.open(found.url)
    return found
