"""`demure data`: describe a dataset folder, export it for other tools, and copy folders."""

from __future__ import annotations

from typing import Annotated

import typer

from demure_cli.command import command, view
from demure_cli.options import DatasetFolder, OutFolder, flag
from demure_cli.output.terminal import terminal
from demure_cli.places import MAKES, READS

_HELP = "Describe a dataset folder, export it for other tools, and copy folders from and to URLs."
data = typer.Typer(help=_HELP, no_args_is_help=True)


@data.callback(help=_HELP)
def _group() -> None: ...


@data.command("show")
@command(view("data", "show_description"))
def show(
    dataset: DatasetFolder,
    gap: Annotated[
        float,
        typer.Option(
            "--gap", min=0.0, metavar="MINUTES", help="A session ends after so many minutes without a choice."
        ),
    ] = 30,
) -> object:
    """Describe a dataset: counts, distributions, content of the items, leakage of the split, look-alike items, sessions
    and suspicious users."""
    from pathlib import Path

    from demure.data.describe.describe import describe

    with terminal.progress() as listener:
        return describe(Path(dataset), gap, listener)


@data.command("export")
@command(view("data", "show_export"))
def export(
    dataset: DatasetFolder,
    out: OutFolder,
    format: Annotated[str, typer.Option("--format", metavar="FORMAT", help="recbole, mmrec or cornac.")],
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", help="The name of the dataset in the files; by default that of DIR."),
    ] = None,
    overwrite: Annotated[bool, flag("--overwrite", help="Replace the folder if it exists.")] = False,
) -> object:
    """Write a dataset, with its split and features, in the file format of another tool."""
    from pathlib import Path

    from demure.data.export import export_dataset

    return export_dataset(Path(dataset), Path(out), format, name, overwrite=overwrite)


@data.command("copy")
@command(view("data", "show_copy"))
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="The folder to copy, or its URL."), READS],
    out: Annotated[str, typer.Argument(metavar="TO", help="The folder to write, or its URL."), MAKES],
    overwrite: Annotated[bool, flag("--overwrite", help="Replace the folder if it exists.")] = False,
) -> object:
    """Copy a dataset, run, study or export folder to a URL of an object store, or from there to this machine."""
    from pathlib import Path

    from demure.storage.copying import copy_folder

    return copy_folder(Path(source), Path(out), overwrite=overwrite)
