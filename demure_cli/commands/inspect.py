"""`demure inspect`: the cause of each choice, and the modalities flagged as noise."""

from __future__ import annotations

from typing import Annotated

import typer

from demure.diagnosis.verdict import FLAG_MIN_INTERACTIONS
from demure_cli.command import command, view
from demure_cli.options import RunFolder, flag
from demure_cli.output.terminal import terminal

_TOP = 10
_VIEWS, _ROWS = "What to show (one at a time)", "Rows and details"


@command(view("inspect"))
def inspect(
    run: RunFolder,
    user: Annotated[
        str | None,
        typer.Option(
            "--user", metavar="ID", help="Show the history of one user, with every verdict.", rich_help_panel=_VIEWS
        ),
    ] = None,
    item: Annotated[
        str | None,
        typer.Option(
            "--item",
            metavar="ID",
            help="Show one item: its users and, for each user, the verdict on each modality.",
            rich_help_panel=_VIEWS,
        ),
    ] = None,
    modality: Annotated[
        str | None,
        typer.Option(
            "--modality",
            metavar="NAME",
            help="Show one modality: its verdicts by segment, and its items.",
            rich_help_panel=_VIEWS,
        ),
    ] = None,
    segment: Annotated[
        str | None,
        typer.Option(
            "--segment",
            metavar="KIND[=NAME]",
            help="Show the diagnosis for each group. KIND is category, reliance (what a user relies on most), history "
            "(its length), popularity or time. KIND=NAME shows one group in full.",
            rich_help_panel=_VIEWS,
        ),
    ] = None,
    list_: Annotated[
        str | None,
        typer.Option("--list", metavar="items|users", help="List all items, or all users.", rich_help_panel=_VIEWS),
    ] = None,
    export: Annotated[
        str | None,
        typer.Option(
            "--export",
            metavar="FILE.parquet",
            help="Write every verdict of the run to this file.",
            rich_help_panel=_VIEWS,
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="CONDITION",
            help="Only rows with FIELD=VALUE (also != < <= > >=, and ~ for contains). Repeat it for more conditions; "
            "for an unknown field, the message lists the fields.",
            rich_help_panel=_ROWS,
        ),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option(
            "--sort",
            metavar="[-]FIELD",
            help="Sort the rows by this field; - puts the largest first.",
            rich_help_panel=_ROWS,
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            "--top",
            min=1,
            metavar="N",
            help="Show at most N rows. The default is 10 for the overview, --modality and --list; --user, --item and "
            "--segment KIND show all rows.",
            rich_help_panel=_ROWS,
        ),
    ] = None,
    min_count: Annotated[
        int,
        typer.Option(
            "--min-count",
            min=1,
            metavar="N",
            help="Overview only: flag an item only if it has at least N interactions.",
            rich_help_panel=_ROWS,
        ),
    ] = FLAG_MIN_INTERACTIONS,
    recommend: Annotated[
        int,
        typer.Option(
            "--recommend",
            min=0,
            metavar="N",
            help="With --user: the number of recommended items to show.",
            rich_help_panel=_ROWS,
        ),
    ] = 5,
    pictures: Annotated[
        bool | None,
        flag("--pictures/--no-pictures", help="Show thumbnails; by default if the terminal can show them."),
    ] = None,
) -> object:
    """Show for each interaction which modality was a point of interest and which was noise.

    Without options: the overview of the run.
    """
    from demure.diagnosis import tables
    from demure.errors import DemureError

    views = {"user": user, "item": item, "modality": modality, "segment": segment, "list": list_, "export": export}
    chosen = [f"--{name}" for name, value in views.items() if value is not None]
    if len(chosen) > 1:
        raise DemureError(f"got {' and '.join(chosen)}", where="inspect", remedy="use one at a time")
    terminal.pictures = pictures
    conditions = where or ()
    if export is not None:
        if conditions or sort or top:
            raise DemureError(
                "the export holds every verdict", where="inspect", remedy="leave out --where, --sort and --top"
            )
        return tables.export(run, export)
    if user is not None:
        return tables.user_view(run, user, recommend=recommend, top=top, where=conditions, sort=sort)
    if item is not None:
        return tables.item_view(run, item, top=top, where=conditions, sort=sort)
    if modality is not None:
        return tables.modality_view(run, modality, top=top or _TOP, where=conditions, sort=sort)
    if list_ is not None:
        return tables.listing(run, list_, top=top or _TOP, where=conditions, sort=sort)
    if segment is None:
        return tables.overview(run, min_count=min_count, top=top or _TOP, where=conditions, sort=sort)
    kind, sign, name = segment.partition("=")
    if not sign:
        return tables.segments(run, kind, top=top, where=conditions, sort=sort)
    return tables.overview(run, min_count=min_count, top=top or _TOP, segment=(kind, name), where=conditions, sort=sort)
