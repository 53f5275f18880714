"""`demure extract`: item texts and images into features."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from demure_cli.common import DatasetFolder, Device, command, flag
from demure_cli.terminal import terminal


def _show(result: Any) -> None:
    from demure_cli.making_tables import show_extracted

    show_extracted(result)


@command(_show, kept="what was extracted so far is kept in {dataset}; the same command goes on from there")
def extract(
    dataset: DatasetFolder,
    text: Annotated[
        str | None,
        typer.Option(metavar="ENCODER", help="For texts: family:model@revision, or tfidf (built in)."),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(metavar="ENCODER", help="For images: family:model@revision, or color (built in)."),
    ] = None,
    device: Device = "auto",
    resume: Annotated[
        bool, flag("--resume/--no-resume", help="Go on where an interrupted extraction stopped, or start over.")
    ] = True,
) -> Any:
    """Turn item texts and images into features in the dataset folder.

    Without --text and --image, the built-in encoders run on what the dataset has. `demure extractors` lists encoders.
    """
    from pathlib import Path

    from demure.features.extract import extract as extract_features

    with terminal.progress() as listener:
        return extract_features(Path(dataset), text=text, image=image, device=device, resume=resume, listener=listener)
