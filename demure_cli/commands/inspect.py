"""`demure inspect`: what each choice was for, and which modalities were flagged as noise."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from demure_cli.command import Run, command, flag
from demure_cli.output.terminal import terminal

_TOP = 10


def _show(result: Any) -> None:
    from demure_cli.views.inspect import show

    show(result)


@command(_show)
def inspect(
    run: Run,
    user: Annotated[str | None, typer.Option(metavar="ID", help="One user's history with every verdict.")] = None,
    item: Annotated[str | None, typer.Option(metavar="ID", help="Who chose this item for what.")] = None,
    modality: Annotated[str | None, typer.Option(metavar="NAME", help="One modality: by parts, and its items.")] = None,
    segment: Annotated[
        str | None,
        typer.Option(
            metavar="KIND[=NAME]",
            help="Compare the parts by category, reliance (of users), history (its length), popularity or time; with "
            "=NAME the overview of one part.",
        ),
    ] = None,
    list_: Annotated[str | None, typer.Option("--list", metavar="items|users", help="All items, or all users.")] = None,
    export: Annotated[
        str | None, typer.Option(metavar="FILE.parquet", help="Write every verdict of the run to this file.")
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="Only rows with FIELD=VALUE (also != < <= > >=, ~ for contains); repeat it for more. Fields are the "
            "columns of the view; a wrong one lists them.",
        ),
    ] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="[-]FIELD", help="Sort the rows; - puts the largest first.")
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="How many rows to show; 10 where there would be many.")] = None,
    min_count: Annotated[
        int, typer.Option(min=1, help="Interactions an item needs to be flagged in the overview.")
    ] = 10,
    recommend: Annotated[
        int, typer.Option(min=0, metavar="N", help="With --user: so many items that would come next, and why.")
    ] = 5,
    pictures: Annotated[
        bool | None,
        flag("--pictures/--no-pictures", help="Thumbnails in the terminal; by itself where it can show them."),
    ] = None,
) -> Any:
    """Say for each interaction which modality was a point of interest and which was noise.

    Without options: the overview of the run.
    """
    from demure.diagnosis import tables
    from demure.errors import DemureError

    asked = {"user": user, "item": item, "modality": modality, "segment": segment, "list": list_, "export": export}
    given = [f"--{name}" for name, value in asked.items() if value is not None]
    if len(given) > 1:
        raise DemureError(f"got {' and '.join(given)}", where="inspect", remedy="ask one at a time")
    terminal.pictures = pictures
    rows: dict[str, Any] = {"where": where or (), "sort": sort}
    if export is not None:
        if where or sort or top:
            raise DemureError(
                "the export holds every verdict", where="inspect", remedy="leave out --where, --sort and --top"
            )
        return tables.export(run, export)
    if user is not None:
        return tables.user_view(run, user, recommend=recommend, top=top, **rows)
    if item is not None:
        return tables.item_view(run, item, top=top, **rows)
    if modality is not None:
        return tables.modality_view(run, modality, top=top or _TOP, **rows)
    if list_ is not None:
        return tables.listing(run, list_, top=top or _TOP, **rows)
    if segment is None:
        return tables.overview(run, min_count=min_count, top=top or _TOP, **rows)
    kind, sign, name = segment.partition("=")
    if not sign:
        return tables.segments(run, kind, top=top, **rows)
    return tables.overview(run, min_count=min_count, top=top or _TOP, segment=(kind, name), **rows)
