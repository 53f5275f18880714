"""`demure export`: a run as files that other programs serve."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from demure_cli.command import Run, command, flag
from demure_cli.output.terminal import terminal


def _show(result: Any) -> None:
    from demure_cli.views.making import show_exported

    show_exported(result)


@command(_show)
def export(
    run: Run,
    out: Annotated[str, typer.Option(metavar="DIR", help="The folder to write.")],
    format: Annotated[
        str,
        typer.Option(metavar="FORMAT", help="onnx (a graph), safetensors (one file of arrays) or npy (a file each)."),
    ] = "safetensors",
    ann: Annotated[bool, flag("--ann", help="Also write an index for approximate search, with its recall.")] = False,
    k: Annotated[int, typer.Option("--k", metavar="N", help="Best items that the index is judged by.")] = 20,
    overwrite: Annotated[bool, flag("--overwrite", help="Replace the folder if it is an export.")] = False,
) -> Any:
    """Write a run for serving elsewhere: vectors, ids, a graph from a history to scores; checked against the run."""
    from pathlib import Path

    from demure.serving.export import export as export_run

    with terminal.progress() as listener:
        return export_run(Path(run), Path(out), format=format, ann=ann, k=k, overwrite=overwrite, listener=listener)
