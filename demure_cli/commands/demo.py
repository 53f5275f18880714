"""`demure demo`: every step on a small generated catalogue, offline."""

from __future__ import annotations

from typing import Annotated

import typer

from demure_cli.command import command, view
from demure_cli.output.terminal import terminal
from demure_cli.places import RESUMES


@command(view("demo"), kept="what was made so far is kept in {out}")
def demo(
    out: Annotated[
        str, typer.Option("--out", metavar="DIR", help="The folder for all files of the demo."), RESUMES
    ] = "demure-demo",
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", help="The random seed of the users and their choices.")
    ] = 0,
) -> object:
    """Show every step of demure on a small generated catalogue: about three minutes, offline, on two cores.

    The generator knows the true cause of each choice, so the diagnosis can be compared with the truth.
    """
    from pathlib import Path

    from demure.demo.run import run_demo

    with terminal.progress() as listener:
        return run_demo(Path(out), seed=seed, listener=listener)
