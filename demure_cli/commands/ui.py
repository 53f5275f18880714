"""`demure ui`: the pages of a run, served on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from demure_cli.command import command, view
from demure_cli.options import CompareWith, RunFolder, Truth, flag
from demure_cli.output.terminal import terminal


@command(view("ui"), kept="the page is no longer served", json=False)
def ui(
    run: RunFolder,
    host: Annotated[
        str,
        typer.Option("--host", metavar="HOST", help="The address to listen on; the default allows only this machine."),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, metavar="PORT", help="The port; 0 takes any free port.")
    ] = 8000,
    compare: CompareWith = None,
    truth: Truth = None,
    open_: Annotated[bool, flag("--open", help="Open the page in the browser.")] = False,
) -> object:
    """Serve the pages of a run on this machine: every user and every item, also of runs too large for one file."""
    from demure.web.serve import site

    with terminal.progress() as listener:
        server = site(run, host=host, port=port, truth=truth, compare=compare or (), listener=listener)
    if open_:
        import webbrowser

        webbrowser.open(server.url)
    return server
