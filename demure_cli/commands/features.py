"""`demure features`: check features, import those of other tools, and export them."""

from __future__ import annotations

from typing import Annotated

import typer

from demure_cli.command import command, view
from demure_cli.options import ChangedDataset, DatasetFolder, Modalities, OutFolder, flag
from demure_cli.places import LOCAL

_HELP = "Check features, import features of other tools, and export features."
features = typer.Typer(help=_HELP, no_args_is_help=True)


@features.callback(help=_HELP)
def _group() -> None: ...


@features.command("check")
@command(view("features", "show_check"))
def check(
    dataset: DatasetFolder,
    names: Modalities = None,
    item: Annotated[
        list[str] | None,
        typer.Option("--item", metavar="ID", help="Show the items nearest to this one. Repeat it for several items."),
    ] = None,
    examples: Annotated[
        int, typer.Option("--examples", min=0, metavar="N", help="Without --item: the number of example items to show.")
    ] = 3,
    nearest: Annotated[
        int, typer.Option("--nearest", min=1, metavar="N", help="The number of nearest items to show.")
    ] = 4,
) -> object:
    """Check features: norms, duplicates, constant and collapsed columns, missing items, and nearest items."""
    from pathlib import Path

    from demure.features.check import check_features

    return {"features": check_features(Path(dataset), names or [], item or [], examples, nearest)}


@features.command("import")
@command(view("features", "show_import"))
def import_(
    dataset: ChangedDataset,
    source: Annotated[
        str,
        typer.Argument(metavar="[NAME=]PATH", help="A .npy or Parquet file, or a folder of MMRec or Ducho."),
        LOCAL,
    ],
    format: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="auto, npy, parquet, mmrec or ducho.")
    ] = "auto",
    ids: Annotated[
        str | None,
        typer.Option("--ids", metavar="FILE", help="The item ids of the rows of a .npy file: one id per line, or CSV."),
        LOCAL,
    ] = None,
    partial: Annotated[bool, flag("--partial", help="Import the matching rows if some ids do not match.")] = False,
    overwrite: Annotated[bool, flag("--overwrite", help="Replace features of the same name.")] = False,
) -> object:
    """Import vectors that another tool made. If ids or numbers of rows do not match, nothing is imported."""
    import re
    from pathlib import Path

    from demure.features.exchange import import_files

    match = re.fullmatch(r"([A-Za-z0-9][\w.-]*)=(.+)", source, re.DOTALL)
    name, path = match.groups() if match else (None, source)
    file = None if ids is None else Path(ids)
    imported = import_files(Path(dataset), Path(path), name, format, file, partial=partial, overwrite=overwrite)
    return {"imported": imported}


@features.command("export")
@command(view("features", "show_export"))
def export(
    dataset: DatasetFolder,
    out: OutFolder,
    names: Modalities = None,
    format: Annotated[str, typer.Option("--format", metavar="FORMAT", help="npy, parquet, mmrec or ducho.")] = "npy",
    overwrite: Annotated[bool, flag("--overwrite", help="Replace the folder if it exists.")] = False,
) -> object:
    """Write features, with the ids of the items, in the file format of another tool."""
    from pathlib import Path

    from demure.features.exporting import export_features

    return export_features(Path(dataset), Path(out), names or [], format, overwrite=overwrite)
