"""`demure whatif`: what would change with another picture or text of an item."""

from __future__ import annotations

from typing import Annotated

import typer

from demure_cli.command import command, view
from demure_cli.options import Device, RunFolder
from demure_cli.output.terminal import terminal
from demure_cli.places import READS_FILE, WRITES_FILE


@command(view("whatif"))
def whatif(
    run: RunFolder,
    item: Annotated[str, typer.Option("--item", metavar="ID", help="The item to change.")],
    image: Annotated[
        str | None,
        typer.Option("--image", metavar="FILE", help="A picture in place of the item's picture."),
        READS_FILE,
    ] = None,
    text: Annotated[
        str | None, typer.Option("--text", metavar="TEXT", help="A text in place of all its texts.")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            "--without", metavar="MODALITY", help="The item without this modality. Repeat it for several modalities."
        ),
    ] = None,
    candidates: Annotated[
        str | None,
        typer.Option("--candidates", metavar="DIR", help="A folder of pictures: which of them is best, and for whom?"),
        READS_FILE,
    ] = None,
    ab_test: Annotated[
        str | None,
        typer.Option(
            "--ab-test",
            metavar="FILE.csv",
            help="Deal the users to the changes at random, for an experiment: write user_id and variant to this file.",
        ),
        WRITES_FILE,
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", min=0, metavar="N", help="Decides the intervals, and who gets which variant.")
    ] = 0,
    device: Device = "auto",
) -> object:
    """Estimate how much more often an item would be chosen with another picture or text, and by which users.

    Nothing is trained. It is a model's answer, not an experiment: use --ab-test to prepare one.
    """
    from demure.diagnosis.whatif import what_if

    with terminal.progress() as listener:
        return what_if(
            run,
            item,
            image=image,
            text=text,
            without=without or (),
            candidates=candidates,
            ab_test=ab_test,
            seed=seed,
            device=device,
            listener=listener,
        )
