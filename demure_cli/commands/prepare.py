"""`demure prepare`: raw files into a dataset folder."""

from __future__ import annotations

from typing import Annotated

import typer

from demure_cli.command import command, view
from demure_cli.options import Columns, On, PrepareWorkers, TimeFormat, flag
from demure_cli.output.terminal import terminal
from demure_cli.places import LOCAL, MAKES, READS_FILE

_CLEANING, _SPLITTING = "Cleaning", "Splitting"


@command(view("prepare"))
def prepare(
    interactions: Annotated[
        str,
        typer.Option(
            "--interactions",
            metavar="FILE",
            help="The choices: columns user_id, item_id, and optionally timestamp, rating, split.",
        ),
        READS_FILE,
    ],
    out: Annotated[
        str,
        typer.Option("--out", metavar="DATASET", help="The dataset folder to write, or its URL (s3:// and similar)."),
        MAKES,
    ],
    items: Annotated[
        str | None,
        typer.Option("--items", metavar="FILE", help="The items: columns item_id, title, description, genres, image."),
        READS_FILE,
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(
            "--images", metavar="DIR", help="The folder of the images; by default the folder of the items file."
        ),
        READS_FILE,
    ] = None,
    audio: Annotated[
        str | None,
        typer.Option(
            "--audio",
            metavar="DIR",
            help="The folder of audio files, named by the column audio of --items or by the items' ids.",
        ),
        READS_FILE,
    ] = None,
    video: Annotated[
        str | None,
        typer.Option(
            "--video",
            metavar="DIR",
            help="The folder of video files, named by the column video of --items or by the items' ids.",
        ),
        READS_FILE,
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            "--features",
            metavar="NAME=FILE.npy",
            help="Features made elsewhere, one row per item. Repeat it for several modalities.",
        ),
        LOCAL,
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            "--split",
            metavar="SPLIT",
            help="leave-one-out, ratio, time, given (the column split of the file), or all: one folder for each.",
        ),
    ] = "leave-one-out",
    k_core: Annotated[
        int, typer.Option("--k-core", min=0, metavar="N", help="Keep users and items with at least N interactions.")
    ] = 0,
    format: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="auto, csv, parquet, jsonl, recbole, mmrec, amazon, movielens, microlens, mind, hm, yelp, cornac, or "
            "a format that another package adds.",
        ),
    ] = "auto",
    columns: Columns = None,
    encoding: Annotated[
        str | None,
        typer.Option(
            "--encoding",
            metavar="NAME",
            help="The encoding of the text files if it is not UTF-8, such as cp1252 or gb18030.",
        ),
    ] = None,
    quotes: Annotated[
        str,
        typer.Option(
            "--quotes",
            metavar="QUOTING",
            help="What quotation marks mean in delimited text: auto decides by all rows of a file; double (RFC 4180), "
            "backslash or none.",
        ),
    ] = "auto",
    bad_rows: Annotated[
        str,
        typer.Option(
            "--bad-rows",
            metavar="WHAT",
            help="refuse or skip (and count) rows that have another number of columns than the header.",
            rich_help_panel=_CLEANING,
        ),
    ] = "refuse",
    events: Annotated[
        list[str] | None,
        typer.Option(
            "--events",
            metavar="EVENT,...",
            help="The events that count as interactions, of the column event, action, label or the like: "
            "addtocart,transaction. With weights, which become ratings: view=1,transaction=5.",
        ),
    ] = None,
    time_format: TimeFormat = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="DATE",
            help="Leave out interactions before this date: 2020-01-31.",
            rich_help_panel=_CLEANING,
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until", metavar="DATE", help="Leave out interactions on this date or later.", rich_help_panel=_CLEANING
        ),
    ] = None,
    duplicates: Annotated[
        str,
        typer.Option(
            "--duplicates",
            metavar="WHICH",
            help="If a user has an item several times, keep the latest, first, best (rated), or all.",
            rich_help_panel=_CLEANING,
        ),
    ] = "latest",
    min_rating: Annotated[
        float | None,
        typer.Option(
            "--min-rating",
            metavar="X",
            help="Leave out ratings below X, and rows without a rating.",
            rich_help_panel=_CLEANING,
        ),
    ] = None,
    bare_items: Annotated[
        str,
        typer.Option(
            "--bare-items",
            metavar="WHAT",
            help="keep or drop items that have neither text, image nor features.",
            rich_help_panel=_CLEANING,
        ),
    ] = "keep",
    user_core: Annotated[
        int | None,
        typer.Option(
            "--user-core", min=0, metavar="N", help="Like --k-core, for users only.", rich_help_panel=_CLEANING
        ),
    ] = None,
    item_core: Annotated[
        int | None,
        typer.Option(
            "--item-core", min=0, metavar="N", help="Like --k-core, for items only.", rich_help_panel=_CLEANING
        ),
    ] = None,
    max_history: Annotated[
        int,
        typer.Option(
            "--max-history",
            min=0,
            metavar="N",
            help="Keep the last N interactions of each user; 0 keeps all.",
            rich_help_panel=_CLEANING,
        ),
    ] = 0,
    min_history: Annotated[
        int,
        typer.Option(
            "--min-history",
            min=0,
            metavar="N",
            help="After that, leave out users with fewer than N interactions.",
            rich_help_panel=_CLEANING,
        ),
    ] = 0,
    ratio: Annotated[
        str,
        typer.Option(
            "--ratio",
            metavar="A/B/C",
            help="Percent of train, valid and test, for the splits ratio and time.",
            rich_help_panel=_SPLITTING,
        ),
    ] = "80/10/10",
    ratio_by: Annotated[
        str,
        typer.Option(
            "--ratio-by",
            metavar="HOW",
            help="For the split ratio: time holds out the last interactions of each user, random holds out random "
            "ones; auto is time if there are timestamps.",
            rich_help_panel=_SPLITTING,
        ),
    ] = "auto",
    seed: Annotated[
        int,
        typer.Option(
            "--seed", metavar="N", help="The seed of the random parts of a split.", rich_help_panel=_SPLITTING
        ),
    ] = 0,
    dry_run: Annotated[bool, flag("--dry-run", help="Show what would be written, and write nothing.")] = False,
    overwrite: Annotated[bool, flag("--overwrite", help="Replace the dataset folder if it exists.")] = False,
    on: On = "local",
    ray_workers: PrepareWorkers = None,
) -> object:
    """Read raw data, check and clean it, split it, and write a dataset folder."""
    from pathlib import Path

    from demure.cluster.choose import check_engine, open_executor
    from demure_cli.parsing import parse_columns, parse_events, parse_files, parse_ratio

    feature_files = parse_files(features)
    from demure.preparation.options import PrepareOptions, check_options
    from demure.preparation.partitioned.log import check_format
    from demure.preparation.with_features import prepare_with_features

    options = PrepareOptions(
        interactions=Path(interactions),
        out=Path(out),
        items=None if items is None else Path(items),
        images=None if images is None else Path(images),
        audio=None if audio is None else Path(audio),
        video=None if video is None else Path(video),
        features=feature_files,
        split=split,
        k_core=k_core,
        format=format,
        columns=parse_columns(columns),
        encoding=encoding,
        quotes=quotes,
        bad_rows=bad_rows,
        events=parse_events(events),
        time_format=time_format,
        since=since,
        until=until,
        duplicates=duplicates,
        min_rating=min_rating,
        bare_items=bare_items,
        user_core=user_core,
        item_core=item_core,
        max_history=max_history,
        min_history=min_history,
        ratio=parse_ratio(ratio),
        ratio_by=ratio_by,
        seed=seed,
        dry_run=dry_run,
        overwrite=overwrite,
    )
    check_engine(on, ray_workers)
    if on != "local":
        check_options(options)
        check_format(options)
    with (
        terminal.progress() as listener,
        open_executor(on, workers=ray_workers, device="cpu", listener=listener) as executor,
    ):
        return prepare_with_features(options, listener, executor)
