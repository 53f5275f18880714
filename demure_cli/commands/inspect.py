"""`demure inspect`: verdicts for each interaction, and the items whose content explains them worse than usual."""

from __future__ import annotations

from typing import Annotated

import typer

from demure.diagnosis.verdict import FLAG_MIN_INTERACTIONS
from demure_cli.command import command, view
from demure_cli.options import (
    On,
    RayWorkers,
    RunFolder,
    TimeFormat,
    flag,
    long_option,
    sort_option,
    top_option,
    where_option,
)
from demure_cli.output.terminal import terminal
from demure_cli.places import LOCAL, READS_FILE, WRITES_FILE

_TOP, _CHOICES, _RECOMMENDED = 10, 20, 5
_VIEWS, _ROWS = "What to show (one at a time)", "Rows and details"


@command(view("inspect"), paged=True)
def inspect(
    run: RunFolder,
    user: Annotated[
        str | None,
        typer.Option(
            "--user", metavar="ID", help="Show one user: each choice with its verdicts.", rich_help_panel=_VIEWS
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
    interests: Annotated[
        str | None,
        typer.Option(
            "--interests",
            metavar="[NAME]",
            help="Show the interests of users in all modalities, with their names, examples and shares of the choices. "
            "NAME is a modality, or an interest to show in full, by its name or as in 'image 3'.",
            rich_help_panel=_VIEWS,
        ),
    ] = None,
    segment: Annotated[
        str | None,
        typer.Option(
            "--segment",
            metavar="KIND[=NAME]",
            help="Show the diagnosis for each segment. KIND is category (of the items), reliance (the cause of most of "
            "a user's choices), history (its length), popularity, time or interest (see --interests). KIND=NAME shows "
            "one segment in full.",
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
        WRITES_FILE,
    ] = None,
    history: Annotated[
        str | None,
        typer.Option(
            "--history",
            metavar="FILE",
            help="Diagnose the users of this file of interactions, new or with fresh histories; nothing is trained. "
            "With --user ID, show the choices of one of them; with --export, write their verdicts.",
            rich_help_panel=_VIEWS,
        ),
        READS_FILE,
    ] = None,
    time_format: TimeFormat = None,
    explain: Annotated[
        bool,
        flag(
            "--explain",
            help="With --user and --item: show which words and which parts of the picture mattered for this choice, "
            "also of a user of --history.",
        ),
    ] = False,
    explain_out: Annotated[
        str | None,
        typer.Option(
            "--explain-out",
            metavar="FILE.png",
            help="With --explain: write the picture beside its heat map to this file.",
            rich_help_panel=_VIEWS,
        ),
        LOCAL,
    ] = None,
    where: Annotated[
        list[str] | None,
        where_option(
            "A row is an item to check in the overview, a choice of --user, a user of --item, an item of --modality, "
            "an interest of --interests, a segment of --segment KIND, or a row of --list. The name of a modality is "
            "the probability, or the share of the choices, for which it was a point of interest: 'image>=0.8'. "
            "Summaries and totals are not filtered.",
            panel=_ROWS,
        ),
    ] = None,
    sort: Annotated[str | None, sort_option(panel=_ROWS)] = None,
    top: Annotated[
        int | None,
        top_option(
            f"The default is {_TOP}. With --user: the N newest choices, {_CHOICES} by default, or the first that "
            "--sort names. --json has all by default.",
            panel=_ROWS,
        ),
    ] = None,
    long: Annotated[
        bool,
        long_option("Show all rows; with --user, each choice with its date and the reasons.", panel=_ROWS),
    ] = False,
    min_count: Annotated[
        int | None,
        typer.Option(
            "--min-count",
            min=1,
            metavar="N",
            help="In the overview and with --segment KIND=NAME: list an item under 'Items to check' only if it has at "
            f"least N interactions; by default {FLAG_MIN_INTERACTIONS}.",
            rich_help_panel=_ROWS,
        ),
    ] = None,
    recommend: Annotated[
        int | None,
        typer.Option(
            "--recommend",
            min=0,
            metavar="N",
            help=f"With --user: the number of recommended items to show; by default {_RECOMMENDED}.",
            rich_help_panel=_ROWS,
        ),
    ] = None,
    pictures: Annotated[
        bool | None,
        flag(
            "--pictures/--no-pictures",
            help="With --user and --item: show thumbnails; by default if the terminal can show them.",
        ),
    ] = None,
    on: On = "local",
    ray_workers: RayWorkers = None,
) -> object:
    """Show for each interaction which modality was a point of interest and which was noise.

    Without options: the overview of the run. The verdict on a modality of an interaction is poi (it was a point of
    interest), noise, or missing (the item does not have it).
    """
    from demure.diagnosis import tables
    from demure.errors import DemureError

    views = {"user": user, "item": item, "modality": modality, "interests": interests, "segment": segment}
    views |= {"list": list_, "export": export}
    chosen = [f"--{name}" for name, value in views.items() if value is not None]
    if explain or explain_out is not None:
        option = "--explain" if explain else "--explain-out"
        if not explain or user is None or item is None:
            raise DemureError("explains one choice", where=option, remedy="use it with --explain, --user and --item")
        others = [name for name in chosen if name not in ("--user", "--item")]
        if others:
            raise DemureError(f"has no effect with {others[0]}", where="--explain", remedy="leave one of them out")
        from demure.diagnosis.history import explain_choice_of

        terminal.view(pictures=pictures)
        with terminal.progress() as listener:
            return explain_choice_of(
                run, history, user, item, out=explain_out, time_format=time_format, listener=listener
            )
    if export is None and (on != "local" or ray_workers is not None):
        option = f"--on {on}" if on != "local" else f"--ray-workers {ray_workers}"
        raise DemureError("is about the export", where=option, remedy="add --export FILE, or leave it out")
    if len(chosen) > 1:
        raise DemureError(f"got {' and '.join(chosen)}", where="inspect", remedy="use one at a time")
    if history is not None and chosen and not (user or export):
        raise DemureError(f"has no effect with {chosen[0]}", where="--history", remedy="use it with --user or --export")
    if history is None and time_format is not None:
        raise DemureError("states the times of --history", where="--time-format", remedy="give --history FILE, too")
    kind, sign, name = (segment or "").partition("=")
    if min_count is not None and (history or chosen) and not sign:
        remedy = "use it in the overview or with --segment KIND=NAME"
        raise DemureError(f"has no effect with {[*chosen, '--history'][0]}", where="--min-count", remedy=remedy)
    if recommend is not None and user is None:
        raise DemureError("has no effect without --user", where="--recommend", remedy="add --user ID or leave it out")
    terminal.view(pictures=pictures, top=top, long=long)
    rows = top if top or long else _TOP
    conditions = where or ()
    suggestions = _RECOMMENDED if recommend is None else recommend
    if export is not None and (conditions or sort or top):
        raise DemureError(
            "the export holds every verdict", where="inspect", remedy="leave out --where, --sort and --top"
        )
    if export is not None:
        return _export(run, export, history, time_format, on, ray_workers)
    if history is not None:
        from demure.diagnosis.history import history_view

        with terminal.progress() as listener:
            return history_view(
                run,
                history,
                user=user,
                recommend=suggestions,
                where=conditions,
                sort=sort,
                top=top if user else rows,
                time_format=time_format,
                listener=listener,
            )
    if user is not None:
        return tables.user_view(run, user, recommend=suggestions, top=top, where=conditions, sort=sort)
    if item is not None:
        return tables.item_view(run, item, top=top, where=conditions, sort=sort)
    if modality is not None:
        return tables.modality_view(run, modality, top=rows, where=conditions, sort=sort)
    if interests is not None:
        return tables.interests(run, interests, top=top, where=conditions, sort=sort)
    if list_ is not None:
        return tables.listing(run, list_, top=rows, where=conditions, sort=sort)
    if segment is not None and not sign:
        return tables.segments(run, kind, top=top, where=conditions, sort=sort)
    return tables.overview(
        run,
        min_count=min_count or FLAG_MIN_INTERACTIONS,
        top=rows,
        segment=None if segment is None else (kind, name),
        where=conditions,
        sort=sort,
    )


def _export(
    run: str, out: str, history: str | None, time_format: str | None, on: str, ray_workers: int | None
) -> object:
    """Write the verdicts of the run, or on the histories of a file."""
    from demure.cluster.choose import open_executor
    from demure.diagnosis.export import export
    from demure.diagnosis.history_export import export_histories

    device = "cpu" if history is None else "auto"
    with (
        terminal.progress() as listener,
        open_executor(on, workers=ray_workers, device=device, listener=listener) as executor,
    ):
        if history is None:
            return export(run, out, listener=listener, executor=executor)
        return export_histories(
            run, history, out, time_format=time_format, device=device, listener=listener, executor=executor
        )
