"""`demure extract`: item texts and images into features."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from demure_cli.command import DatasetFolder, Device, Interrupted, command, flag
from demure_cli.output.terminal import terminal

_MACHINE = "The machine"


def _show(result: Any) -> None:
    from demure_cli.views.making import show_extracted

    show_extracted(result)


@command(_show)
def extract(
    dataset: DatasetFolder,
    text: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENCODER",
            help="For texts: family:model@revision, or tfidf (built in; tfidf:256 sets the dimensions,"
            " tfidf:keep-numbers keeps years and ids). NAME=ENCODER adds a second;"
            " 'NAME=ENCODER\\[title,description]' reads these columns only.",
        ),
    ] = None,
    image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ENCODER",
            help="For images: family:model@revision, or color (built in). NAME=ENCODER adds a second.",
        ),
    ] = None,
    attributes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMNS",
            help="Encode columns of categories and numbers (brand,colour,price; built in), or all such columns: all."
            " NAME=COLUMNS adds a second.",
        ),
    ] = None,
    device: Device = "auto",
    resume: Annotated[
        bool, flag("--resume/--no-resume", help="Use what was encoded before by the same encoder, or start over.")
    ] = True,
    precision: Annotated[
        str,
        typer.Option(
            metavar="TYPE",
            help="float32, bfloat16 or float16; auto: 16 bits on CUDA, float32 elsewhere.",
            rich_help_panel=_MACHINE,
        ),
    ] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Processes that decode images.", rich_help_panel=_MACHINE),
    ] = None,
    image_seconds: Annotated[
        float,
        typer.Option(
            min=0.1, metavar="SECONDS", help="An image that takes longer is given up.", rich_help_panel=_MACHINE
        ),
    ] = 20.0,
) -> Any:
    """Turn item texts, images and attributes into features in the dataset folder.

    Without --text, --image and --attributes, the built-in encoders run on the texts and images that the dataset has.
    `demure extractors` lists encoders.
    Under torchrun or accelerate launch, the processes share the work.
    """
    from pathlib import Path

    from demure.compute.launcher import ranks
    from demure.extraction.extract import extract as extract_features

    terminal.configure(quiet=ranks().rank > 0)
    try:
        with terminal.progress() as listener:
            return extract_features(
                Path(dataset),
                text=text,
                image=image,
                attributes=attributes,
                listener=listener,
                device=device,
                precision=precision,
                resume=resume,
                workers=workers,
                image_seconds=image_seconds,
            )
    except KeyboardInterrupt as stop:
        kept = f"{stop or 'what was done before'} is kept in {Path(dataset) / 'features'}"
        raise Interrupted(f"{kept}; the same command goes on from there") from stop
