"""`demure selftest`: how many wrong pictures and texts the diagnosis finds on the data of a run."""

from __future__ import annotations

from typing import Annotated

import typer

from demure_cli.command import command, view
from demure_cli.options import Device, RunFolder
from demure_cli.output.terminal import terminal


@command(view("selftest"))
def selftest(
    run: RunFolder,
    modality: Annotated[
        list[str] | None,
        typer.Option("--modality", metavar="NAME", help="Test this modality; by default all. Repeat it for several."),
    ] = None,
    share: Annotated[
        float, typer.Option("--share", metavar="SHARE", help="The share of the items whose content is dealt.")
    ] = 0.05,
    deals: Annotated[int, typer.Option("--deals", min=1, metavar="N", help="How often it is dealt anew.")] = 3,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="The seed of the deals.")] = 0,
    device: Device = "auto",
) -> object:
    """Give some items the pictures, then the texts, of others, and count how many of them demure finds.

    Nothing is trained and nothing is written: the run diagnoses its training choices again with the dealt content.
    """
    from demure.training.selftest import selftest as test_run

    with terminal.progress() as listener:
        return test_run(
            run, modalities=modality or (), share=share, deals=deals, seed=seed, device=device, listener=listener
        )
