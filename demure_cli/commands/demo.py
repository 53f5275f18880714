"""`demure demo`: the whole way on a small catalogue, offline."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from demure_cli.command import command
from demure_cli.output.terminal import terminal


def _show(result: Any) -> None:
    from demure_cli.views.demo import show

    show(result)


@command(_show, kept="what was made so far is kept in {out}")
def demo(
    out: Annotated[str, typer.Option(metavar="DIR", help="Folder for everything the demo makes.")] = "demure-demo",
    seed: Annotated[int, typer.Option(metavar="N", help="Decides who the users are and what they choose.")] = 0,
) -> Any:
    """Show all of demure on a catalogue that it draws itself: about two minutes, offline, on two cores.

    The users' reasons are known to the generator, so the diagnosis can be checked against the truth.
    """
    from pathlib import Path

    from demure.demo.run import run as run_demo

    with terminal.progress() as listener:
        return run_demo(Path(out), seed=seed, listener=listener)
