"""`demure images`: download the images of an items file that has only their URLs."""

from __future__ import annotations

from typing import Annotated

import typer

from demure_cli.command import command, view
from demure_cli.options import Columns, flag
from demure_cli.output.terminal import terminal
from demure_cli.places import LOCAL

_HELP = "Download the images of an items file that has only their URLs."
images = typer.Typer(help=_HELP, no_args_is_help=True)


@images.callback(help=_HELP)
def _group() -> None: ...


@images.command("fetch")
@command(view("images"), kept="what was downloaded is kept in {out}; the same command continues")
def fetch(
    items: Annotated[str, typer.Argument(metavar="FILE", help="The items file, with a column of image URLs."), LOCAL],
    out: Annotated[
        str,
        typer.Option("--out", metavar="DIR", help="The folder for the images. If it exists, the download continues."),
        LOCAL,
    ],
    columns: Columns = None,
    rate: Annotated[float, typer.Option("--rate", metavar="N", help="Requests per second to one host.")] = 5.0,
    per_host: Annotated[
        int, typer.Option("--per-host", metavar="N", help="Downloads at the same time from one host.")
    ] = 4,
    parallel: Annotated[int, typer.Option("--parallel", metavar="N", help="Downloads at the same time in total.")] = 32,
    tries: Annotated[
        int, typer.Option("--tries", metavar="N", help="Attempts for an image after temporary errors.")
    ] = 4,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", help="The time limit without any data.")
    ] = 20.0,
    max_mb: Annotated[float, typer.Option("--max-mb", metavar="MB", help="The largest image to keep.")] = 20.0,
    retry_dead: Annotated[
        bool, flag("--retry-dead", help="Try again the images that an earlier run found missing for good.")
    ] = False,
    allow_private: Annotated[
        bool,
        flag("--allow-private", help="Follow redirects and names to private addresses, for a network that you trust."),
    ] = False,
) -> object:
    """Download the images of the items in parallel, with limits per host, and continue an earlier download."""
    from pathlib import Path

    from demure.preparation.fetch.fetch_images import FetchOptions, fetch_images
    from demure_cli.parsing import parse_columns

    options = FetchOptions(
        Path(items),
        Path(out),
        columns=parse_columns(columns),
        rate=rate,
        per_host=per_host,
        parallel=parallel,
        tries=tries,
        timeout=timeout,
        max_megabytes=max_mb,
        retry_dead=retry_dead,
        allow_private=allow_private,
    )
    with terminal.progress() as listener:
        return fetch_images(options, listener)
