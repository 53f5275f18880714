"""`demure recommend`: the best items for users."""

from __future__ import annotations

from typing import Annotated

import typer

from demure_cli.command import command, view
from demure_cli.options import Device, NewFeatures, NewImages, NewItems, On, RayWorkers, RunFolder, TimeFormat, flag
from demure_cli.output.terminal import terminal
from demure_cli.parsing import parse_files, refuse_without_items
from demure_cli.places import READS_FILE, WRITES_FILE


@command(view("recommend"))
def recommend(
    run: RunFolder,
    out: Annotated[
        str,
        typer.Option(
            "--out",
            metavar="FILE.parquet",
            help="The file to write: user_id, rank, item_id, score, because (what contributes most).",
        ),
        WRITES_FILE,
    ],
    user: Annotated[
        list[str] | None,
        typer.Option("--user", metavar="ID", help="A user to recommend to. Repeat it for several users."),
    ] = None,
    all: Annotated[bool, flag("--all", help="Recommend to every user of the dataset.")] = False,
    history: Annotated[
        str | None,
        typer.Option(
            "--history",
            metavar="FILE",
            help="Interactions of users of the dataset or of new users: recommend to them by these interactions alone.",
        ),
        READS_FILE,
    ] = None,
    time_format: TimeFormat = None,
    items: NewItems = None,
    images: NewImages = None,
    features: NewFeatures = None,
    only_new: Annotated[bool, flag("--only-new", help="Recommend the new items of --items alone.")] = False,
    k: Annotated[int, typer.Option("--k", min=1, metavar="N", help="The number of items per user.")] = 20,
    device: Device = "auto",
    on: On = "local",
    ray_workers: RayWorkers = None,
) -> object:
    """Recommend the k best new items to users, with the modality that contributes most to each score."""
    from pathlib import Path

    from demure.errors import DemureError

    if [bool(user), all, history is not None].count(True) != 1:
        raise DemureError(
            "takes either --user ID (repeatedly), --all or --history FILE",
            where="recommend",
            remedy="choose one of them",
        )
    if time_format is not None and history is None:
        raise DemureError("states the times of --history", where="--time-format", remedy="give --history FILE, too")
    refuse_without_items(items, {"--images": images, "--features": features, "--only-new": only_new})
    from demure.cluster.choose import open_executor
    from demure.runs.recommend import recommend as recommend_items

    file = None if history is None else Path(history)
    with (
        terminal.progress() as listener,
        open_executor(on, workers=ray_workers, device=device, listener=listener) as executor,
    ):
        return recommend_items(
            Path(run),
            Path(out),
            users=user or None,
            history=file,
            time_format=time_format,
            items=None if items is None else Path(items),
            images=None if images is None else Path(images),
            features=parse_files(features),
            only_new=only_new,
            k=k,
            device=device,
            listener=listener,
            executor=executor,
        )
