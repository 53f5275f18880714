"""`demure prepare`: raw files into a dataset folder."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from demure_cli.command import command, flag
from demure_cli.output.terminal import terminal

_READING, _CLEANING, _SPLITTING = "Reading", "Cleaning", "Splitting"


def _show(result: Any) -> None:
    from demure_cli.views.data import show_prepared

    show_prepared(result)


@command(_show)
def prepare(
    interactions: Annotated[
        str, typer.Option(metavar="FILE", help="Who chose what: user_id, item_id and maybe timestamp, rating, split.")
    ],
    out: Annotated[str, typer.Option(metavar="DATASET", help="The dataset folder to write.")],
    items: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="What the items are: item_id, title, description, genres, image."),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Folder of the images, where it is not the items file's."),
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE.npy", help="Features made elsewhere, a row per item; repeatable."),
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            metavar="SPLIT", help="leave-one-out, ratio, time, given (the file's own), or all: each, side by side."
        ),
    ] = "leave-one-out",
    k_core: Annotated[
        int, typer.Option(min=0, metavar="N", help="Keep users and items with at least N interactions.")
    ] = 0,
    format: Annotated[
        str,
        typer.Option(
            metavar="FORMAT",
            help="auto, csv, parquet, jsonl, recbole, mmrec, amazon, movielens, microlens, hm, yelp or cornac.",
        ),
    ] = "auto",
    columns: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROLE=NAME,...",
            help="Which column is what: user=visitorid,item=asin; places from 1 where there is no header.",
            rich_help_panel=_READING,
        ),
    ] = None,
    encoding: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Of the text files, if not UTF-8: cp1252, gb18030.", rich_help_panel=_READING
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Leave out what was before: 2020-01-31.", rich_help_panel=_CLEANING),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Leave out what was then or later.", rich_help_panel=_CLEANING),
    ] = None,
    duplicates: Annotated[
        str,
        typer.Option(
            metavar="WHICH",
            help="Of the same user and item keep latest, first, best (rated) or all.",
            rich_help_panel=_CLEANING,
        ),
    ] = "latest",
    min_rating: Annotated[
        float | None,
        typer.Option(metavar="X", help="Leave out ratings below X, and rows without one.", rich_help_panel=_CLEANING),
    ] = None,
    bare_items: Annotated[
        str,
        typer.Option(
            metavar="WHAT",
            help="keep or drop items that have neither text, image nor features.",
            rich_help_panel=_CLEANING,
        ),
    ] = "keep",
    user_core: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="As --k-core, for users alone.", rich_help_panel=_CLEANING),
    ] = None,
    item_core: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="As --k-core, for items alone.", rich_help_panel=_CLEANING),
    ] = None,
    max_history: Annotated[
        int, typer.Option(min=0, metavar="N", help="Keep each user's last N; 0: all.", rich_help_panel=_CLEANING)
    ] = 0,
    min_history: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Then leave out users with fewer than N.", rich_help_panel=_CLEANING),
    ] = 0,
    ratio: Annotated[
        str,
        typer.Option(
            metavar="A/B/C", help="Percent of train, valid, test for ratio and time.", rich_help_panel=_SPLITTING
        ),
    ] = "80/10/10",
    ratio_by: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="ratio holds out each user's last (time) or some by chance (random); auto: time if there is.",
            rich_help_panel=_SPLITTING,
        ),
    ] = "auto",
    seed: Annotated[
        int, typer.Option(metavar="N", help="Decides what is left to chance in a split.", rich_help_panel=_SPLITTING)
    ] = 0,
    dry_run: Annotated[bool, flag("--dry-run", help="Show what would be made, and write nothing.")] = False,
    overwrite: Annotated[bool, flag("--overwrite", help="Replace the dataset folder if it exists.")] = False,
) -> Any:
    """Read raw data, check it, clean it, split it, and write a dataset folder."""
    from pathlib import Path

    feature_files = named_files(features or [])
    from demure.prepare.prepare import PrepareOptions
    from demure.prepare.with_features import prepare_with_features

    options = PrepareOptions(
        interactions=Path(interactions),
        out=Path(out),
        items=None if items is None else Path(items),
        images=None if images is None else Path(images),
        features=feature_files,
        split=split,
        k_core=k_core,
        format=format,
        columns=named_columns(columns or []),
        encoding=encoding,
        since=since,
        until=until,
        duplicates=duplicates,
        min_rating=min_rating,
        bare_items=bare_items,
        user_core=user_core,
        item_core=item_core,
        max_history=max_history,
        min_history=min_history,
        ratio=_percents(ratio),
        ratio_by=ratio_by,
        seed=seed,
        dry_run=dry_run,
        overwrite=overwrite,
    )
    with terminal.progress() as listener:
        return prepare_with_features(options, listener)


def _percents(text: str) -> tuple[int, int, int]:
    """``80/10/10``. Raises ``DemureError`` for another form."""
    from demure.errors import DemureError

    parts = text.split("/")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
        raise DemureError(f"{text!r} is not A/B/C", where="--ratio", remedy="three parts of 100, for example 80/10/10")
    train, valid, test = map(int, parts)
    return train, valid, test


def named_columns(options: list[str]) -> dict[str, str]:
    """``ROLE=NAME,...`` options as a dict. Raises ``DemureError`` for another form and for a role twice."""
    from demure.errors import DemureError

    named: dict[str, str] = {}
    for pair in (pair for option in options for pair in option.split(",")):
        role, equals, column = pair.partition("=")
        if not (role.strip() and equals and column.strip()):
            raise DemureError(f"{pair!r} is not ROLE=NAME", where="--columns", remedy="for example user=visitorid")
        if role.strip() in named:
            raise DemureError(f"{role.strip()!r} is given twice", where="--columns", remedy="one column per role")
        named[role.strip()] = column.strip()
    return named


def named_files(pairs: list[str]) -> dict[str, Any]:
    """``NAME=FILE`` options as a dict. Raises ``DemureError`` for another form and for a name twice."""
    from pathlib import Path

    from demure.errors import DemureError

    named: dict[str, Any] = {}
    for pair in pairs:
        name, equals, file = pair.partition("=")
        if not (name and equals and file):
            raise DemureError(f"{pair!r} is not NAME=FILE", where="--features", remedy="for example image=image.npy")
        if name in named:
            raise DemureError(f"{name!r} is given twice", where="--features", remedy="one file per name")
        named[name] = Path(file)
    return named
