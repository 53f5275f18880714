"""`demure export`: a run as files that other programs can serve."""

from __future__ import annotations

from typing import Annotated

import typer

from demure_cli.command import command, view
from demure_cli.options import OutFolder, RunFolder, flag
from demure_cli.output.terminal import terminal


@command(view("export"))
def export(
    run: RunFolder,
    out: OutFolder,
    format: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="onnx (a graph), safetensors (one file of arrays) or npy (one file per array).",
        ),
    ] = "safetensors",
    ann: Annotated[
        bool, flag("--ann", help="Also write an index for approximate search, and measure its recall.")
    ] = False,
    k: Annotated[
        int, typer.Option("--k", metavar="N", help="The list length at which the recall of the index is measured.")
    ] = 20,
    overwrite: Annotated[bool, flag("--overwrite", help="Replace the folder if it is an earlier export.")] = False,
) -> object:
    """Write a run for serving elsewhere: vectors, ids, and a graph from a history to scores.

    The exported files are checked against the run.
    """
    from pathlib import Path

    from demure.serving.export import export as export_run

    with terminal.progress() as listener:
        return export_run(Path(run), Path(out), format=format, ann=ann, k=k, overwrite=overwrite, listener=listener)
