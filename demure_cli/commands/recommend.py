"""`demure recommend`: top-k items for users."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from demure_cli.command import Device, Run, command, flag
from demure_cli.output.terminal import terminal


def _show(result: Any) -> None:
    from demure_cli.views.making import show_recommended

    show_recommended(result)


@command(_show)
def recommend(
    run: Run,
    out: Annotated[
        str, typer.Option(metavar="FILE.parquet", help="Where to write user_id, rank, item_id, score and because.")
    ],
    user: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="A user to recommend to; may be given repeatedly.")
    ] = None,
    all: Annotated[bool, flag("--all", help="Recommend to every user of the dataset.")] = False,
    history: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Interactions of users, known or new: recommend to them by these alone."),
    ] = None,
    k: Annotated[int, typer.Option("--k", min=1, metavar="N", help="Items per user.")] = 20,
    device: Device = "auto",
) -> Any:
    """Recommend the k best new items to users, with scores and the modality that carries each."""
    from pathlib import Path

    from demure.errors import DemureError

    if [bool(user), all, history is not None].count(True) != 1:
        raise DemureError(
            "takes either --user ID (repeatedly), --all or --history FILE",
            where="recommend",
            remedy="say which users",
        )
    from demure.runs.recommend import recommend as recommend_items

    with terminal.progress() as listener:
        given = None if history is None else Path(history)
        return recommend_items(
            Path(run), Path(out), users=user or None, history=given, k=k, device=device, listener=listener
        )
