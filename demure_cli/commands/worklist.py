"""`demure worklist`: the items whose content fails them, and what to do about each."""

from __future__ import annotations

from typing import Annotated

import typer

from demure_cli.command import command, view
from demure_cli.options import RunFolder, long_option, sort_option, top_option, where_option
from demure_cli.output.terminal import terminal
from demure_cli.places import WRITES_FILE


@command(view("worklist"), paged=True)
def worklist(
    run: RunFolder,
    out: Annotated[
        str | None,
        typer.Option("--out", metavar="FILE.csv", help="Also write the list to this file, for a spreadsheet."),
        WRITES_FILE,
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
        where_option("The columns of the file are fields, too: sign=sure, choices>=50, kind=content."),
    ] = None,
    sort: Annotated[str | None, sort_option()] = None,
    top: Annotated[
        int | None,
        top_option("By default the file and --json have all, and the terminal the first ones of each kind."),
    ] = None,
    long: Annotated[bool, long_option("Show all rows.")] = False,
) -> object:
    """List the items whose content fails them: what is wrong, how many choices that concerns, and what to do.

    Texts and pictures that belong to another item, say nothing or are absent; one product entered twice; attributes
    unlike those of similar items; and modalities that explain nothing.
    """
    from demure.diagnosis.worklist import list_content

    terminal.view(top=top, long=long)
    return list_content(run, out, kinds=kind or (), where=where or (), sort=sort, top=top)
