"""`demure prepare`: raw files into a dataset folder."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from demure_cli.common import command, flag
from demure_cli.terminal import terminal


def _show(result: Any) -> None:
    from demure_cli.making_tables import show_prepared

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
        str, typer.Option(metavar="SPLIT", help="leave-one-out, ratio, time, or given (the file's own).")
    ] = "leave-one-out",
    k_core: Annotated[
        int, typer.Option(min=0, metavar="N", help="Keep users and items with at least N interactions.")
    ] = 0,
    format: Annotated[
        str, typer.Option(metavar="FORMAT", help="auto, csv, parquet, jsonl, recbole, mmrec, amazon or movielens.")
    ] = "auto",
    seed: Annotated[int, typer.Option(metavar="N", help="Decides what is left to chance in a split.")] = 0,
    overwrite: Annotated[bool, flag("--overwrite", help="Replace the dataset folder if it exists.")] = False,
) -> Any:
    """Read raw data, check it, filter it, split it, and write a dataset folder."""
    from pathlib import Path

    feature_files = named_files(features or [])
    from demure.data.prepare import PrepareOptions
    from demure.features import prepare_with_features

    options = PrepareOptions(
        interactions=Path(interactions),
        out=Path(out),
        items=None if items is None else Path(items),
        images=None if images is None else Path(images),
        features=feature_files,
        split=split,
        k_core=k_core,
        format=format,
        seed=seed,
        overwrite=overwrite,
    )
    with terminal.progress() as listener:
        return prepare_with_features(options, listener)


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
