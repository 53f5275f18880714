"""`demure images`: get the pictures that an items file only has the addresses of."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from demure_cli.command import command, flag
from demure_cli.output.terminal import terminal

images = typer.Typer(help="Get the pictures that an items file only has the addresses of.", no_args_is_help=True)


@images.callback()
def _group() -> None:
    """Get the pictures that an items file only has the addresses of."""


def _show(result: Any) -> None:
    from demure_cli.views.data import show_fetched

    show_fetched(result)


@images.command("fetch")
@command(_show, kept="what was fetched is in {out}; the same command goes on")
def fetch(
    items: Annotated[str, typer.Argument(metavar="FILE", help="Items file with a column of image URLs.")],
    out: Annotated[str, typer.Option(metavar="DIR", help="The folder of images; go on in it if it exists.")],
    columns: Annotated[
        list[str] | None, typer.Option(metavar="ROLE=NAME,...", help="Which column is what: item=sku,image=photo_url.")
    ] = None,
    rate: Annotated[float, typer.Option(metavar="N", help="Requests per second to one host.")] = 5.0,
    per_host: Annotated[int, typer.Option(metavar="N", help="At a time from one host.")] = 4,
    parallel: Annotated[int, typer.Option(metavar="N", help="At a time in all.")] = 32,
    tries: Annotated[int, typer.Option(metavar="N", help="Before an image that may come is given up.")] = 4,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="Without a byte.")] = 20.0,
    max_mb: Annotated[float, typer.Option(metavar="MB", help="The largest image that is kept.")] = 20.0,
    retry_dead: Annotated[bool, flag("--retry-dead", help="Ask again for what an earlier run found dead.")] = False,
) -> Any:
    """Download the items' images: in parallel, politely, going on where an earlier run ended."""
    from pathlib import Path

    from demure.prepare.fetch.images import FetchOptions
    from demure.prepare.fetch.images import fetch as download
    from demure_cli.commands.prepare import named_columns

    options = FetchOptions(
        Path(items),
        Path(out),
        columns=named_columns(columns or []),
        rate=rate,
        per_host=per_host,
        parallel=parallel,
        tries=tries,
        timeout=timeout,
        max_megabytes=max_mb,
        retry_dead=retry_dead,
    )
    with terminal.progress() as listener:
        return download(options, listener)
