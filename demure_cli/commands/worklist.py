"""`demure worklist`: the items whose content fails them, and what to do about each."""

from __future__ import annotations

from typing import Annotated

import typer

from demure_cli.command import command, view
from demure_cli.options import RunFolder


@command(view("worklist"))
def worklist(
    run: RunFolder,
    out: Annotated[
        str | None,
        typer.Option("--out", metavar="FILE.csv", help="Also write the list to this file, for a spreadsheet."),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="Only these findings: content, duplicate, missing, modality or label. Repeat it for several kinds.",
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="CONDITION",
            help="Only the rows that fulfil FIELD=VALUE (also != < <= > >=, and ~ for contains), by the columns of the "
            "file, for example sign=sure or choices>=50. Repeat it for more conditions.",
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option("--sort", metavar="[-]FIELD", help="Sort the rows by this field; - puts the largest first."),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            "--top",
            min=1,
            metavar="N",
            help="Only the first N rows. By default the file and --json have all, and the terminal some of each kind.",
        ),
    ] = None,
) -> object:
    """List the items whose content fails them: what is wrong, how many choices that concerns, and what to do.

    Texts and pictures that belong to another item, say nothing or are absent; one product entered twice; attributes
    unlike those of similar items; and modalities that explain nothing.
    """
    from demure.diagnosis.worklist import list_content

    return list_content(run, out, kinds=kind or (), where=where or (), sort=sort, top=top)
