"""`demure inspect`: which modalities were flagged as noise."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from demure_cli.common import Run, command


def _show(result: Any) -> None:
    from demure_cli.inspect_tables import show

    show(result)


@command(_show)
def inspect(
    run: Run,
    user: Annotated[str | None, typer.Option(metavar="ID", help="One user's history with every verdict.")] = None,
    item: Annotated[str | None, typer.Option(metavar="ID", help="Who chose this item for what.")] = None,
    export: Annotated[
        str | None, typer.Option(metavar="FILE.parquet", help="Write every verdict of the run to this file.")
    ] = None,
    min_count: Annotated[
        int, typer.Option(min=1, help="Interactions an item needs to be listed in the overview.")
    ] = 10,
    top: Annotated[int, typer.Option(min=1, help="Items to list in the overview.")] = 10,
) -> Any:
    """Say for each interaction which modality was a point of interest and which was noise.

    Without options: the overview of the run.
    """
    from demure.diagnosis import tables
    from demure.errors import DemureError

    if sum(option is not None for option in (user, item, export)) > 1:
        raise DemureError("takes one of --user, --item and --export", where="inspect", remedy="ask one at a time")
    if export is not None:
        return tables.export(run, export)
    if user is not None:
        return tables.user_view(run, user)
    if item is not None:
        return tables.item_view(run, item)
    return tables.overview(run, min_count=min_count, top=top)
