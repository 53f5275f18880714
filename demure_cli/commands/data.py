"""`demure data`: look into a dataset folder, and take it elsewhere."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from demure_cli.command import DatasetFolder, command, flag
from demure_cli.output.terminal import terminal

data = typer.Typer(help="Look into a dataset folder, and take it elsewhere.", no_args_is_help=True)


@data.callback()
def _group() -> None:
    """Look into a dataset folder, and take it elsewhere."""


def _show(result: Any) -> None:
    from demure_cli.views.data import show_described

    show_described(result)


def _show_exported(result: Any) -> None:
    from demure_cli.views.data import show_exported

    show_exported(result)


@data.command("show")
@command(_show)
def show(
    dataset: DatasetFolder,
    gap: Annotated[
        float, typer.Option(min=0.0, metavar="MINUTES", help="A session ends where its user does nothing for so long.")
    ] = 30,
) -> Any:
    """Counts, distributions, modality coverage, look-alike items, sessions, suspicious users."""
    from pathlib import Path

    from demure.data.describe.describe import describe

    with terminal.progress() as listener:
        return describe(Path(dataset), gap, listener)


@data.command("export")
@command(_show_exported)
def export(
    dataset: DatasetFolder,
    out: Annotated[str, typer.Option(metavar="DIR", help="The folder to write.")],
    format: Annotated[str, typer.Option(metavar="FORMAT", help="recbole, mmrec or cornac.")],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="What the files are called, if not as DIR.")] = None,
    overwrite: Annotated[bool, flag("--overwrite", help="Replace the folder if it exists.")] = False,
) -> Any:
    """Write a dataset, with its split and features, as the files of another tool."""
    from pathlib import Path

    from demure.data.export import export as write

    return write(Path(dataset), Path(out), format, name, overwrite=overwrite)
