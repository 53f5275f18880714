"""`demure features`: look at features, bring in those of other tools, and take them elsewhere."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from demure_cli.command import DatasetFolder, command, flag

features = typer.Typer(
    help="Look at features, bring in those of other tools, take them elsewhere.", no_args_is_help=True
)


@features.callback()
def _group() -> None:
    """Look at features, bring in those of other tools, take them elsewhere."""


def _show_checked(result: Any) -> None:
    from demure_cli.views.features import show_checked

    show_checked(result)


def _show_imported(result: Any) -> None:
    from demure_cli.views.features import show_imported

    show_imported(result)


def _show_exported(result: Any) -> None:
    from demure_cli.views.features import show_exported

    show_exported(result)


@features.command("check")
@command(_show_checked)
def check(
    dataset: DatasetFolder,
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="The modalities; all if none.")] = None,
    item: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Show what is nearest to this item; repeatable.")
    ] = None,
    examples: Annotated[
        int, typer.Option(min=0, metavar="N", help="Items to show the nearest of, where none is named.")
    ] = 3,
    nearest: Annotated[int, typer.Option(min=1, metavar="N", help="How many of the nearest to show.")] = 4,
) -> Any:
    """Norms, duplicates, collapsed and constant features, how many items lack them, and what is near to what."""
    from pathlib import Path

    from demure.features.check import check as look

    return {"features": look(Path(dataset), names or [], item or [], examples, nearest)}


@features.command("import")
@command(_show_imported)
def import_(
    dataset: DatasetFolder,
    source: Annotated[
        str, typer.Argument(metavar="[NAME=]PATH", help="A .npy or Parquet file, or a folder of MMRec or Ducho.")
    ],
    format: Annotated[str, typer.Option(metavar="FORMAT", help="auto, npy, parquet, mmrec or ducho.")] = "auto",
    ids: Annotated[
        str | None, typer.Option(metavar="FILE", help="Whose the rows of a .npy file are: an item id per line, or CSV.")
    ] = None,
    partial: Annotated[bool, flag("--partial", help="Take what fits, where ids do not match.")] = False,
    overwrite: Annotated[bool, flag("--overwrite", help="Replace features of the same name.")] = False,
) -> Any:
    """Store vectors that were made elsewhere; ids or numbers that do not match are refused, with the counts."""
    import re
    from pathlib import Path

    from demure.features.exchange import import_files

    match = re.fullmatch(r"([A-Za-z0-9][\w.-]*)=(.+)", source, re.DOTALL)
    name, path = match.groups() if match else (None, source)
    where = None if ids is None else Path(ids)
    made = import_files(Path(dataset), Path(path), name, format, where, partial=partial, overwrite=overwrite)
    return {"imported": made}


@features.command("export")
@command(_show_exported)
def export(
    dataset: DatasetFolder,
    out: Annotated[str, typer.Option(metavar="DIR", help="The folder to write.")],
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="The modalities; all if none.")] = None,
    format: Annotated[str, typer.Option(metavar="FORMAT", help="npy, parquet, mmrec or ducho.")] = "npy",
    overwrite: Annotated[bool, flag("--overwrite", help="Replace the folder if it exists.")] = False,
) -> Any:
    """Write features as the files of another tool, with the items' ids."""
    from pathlib import Path

    from demure.features.exporting import export_features

    return export_features(Path(dataset), Path(out), names or [], format, overwrite=overwrite)
