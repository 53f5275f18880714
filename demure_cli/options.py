"""Annotations of arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from demure_cli.places import CHANGES, LOCAL, MAKES, READS, READS_FILE


def flag(
    *names: str,
    help: str,
    is_eager: bool = False,
    callback: Callable[[bool], None] | None = None,
) -> Any:
    """Return a yes-or-no option, without the ``<bool>`` that Typer would print behind its name."""
    return typer.Option(*names, help=help, metavar="", is_eager=is_eager, callback=callback)


def where_option(rows: str, *, panel: str | None = None) -> Any:
    """Return the option ``--where``; ``rows``: a sentence about the rows that it selects."""
    return typer.Option(
        "--where",
        metavar="CONDITION",
        help="Show only the rows that fulfil FIELD=VALUE (also != < <= > >=, and ~ for contains), where FIELD is a "
        f"heading of the table. {rows} Repeat it for more conditions; for an unknown field, the message lists them.",
        rich_help_panel=panel,
    )


def sort_option(*, panel: str | None = None) -> Any:
    """Return the option ``--sort``."""
    return typer.Option(
        "--sort",
        metavar="[-]FIELD",
        help="Sort the rows by this heading of the table; - puts the largest first.",
        rich_help_panel=panel,
    )


def top_option(default: str, *, panel: str | None = None) -> Any:
    """Return the option ``--top``; ``default``: a sentence about the rows without it."""
    return typer.Option("--top", min=1, metavar="N", help=f"Show the first N rows. {default}", rich_help_panel=panel)


def long_option(help: str, *, panel: str | None = None) -> Any:
    """Return the flag ``--long``."""
    return typer.Option("--long", help=help, metavar="", rich_help_panel=panel)


Quiet = Annotated[bool, flag("--quiet", "-q", help="Print only the result and errors: no progress and no notes.")]
Verbose = Annotated[bool, flag("--verbose", "-v", help="Show warnings, logs and tracebacks.")]
LogJson = Annotated[
    str | None,
    typer.Option(
        "--log-json", metavar="FILE", help="Append a log of JSON lines to FILE: stages, notes, errors, files written."
    ),
]
Json = Annotated[bool, flag("--json", help="Print the result as one JSON object on standard output.")]

RunFolder = Annotated[
    str, typer.Argument(metavar="RUN", help="The run folder that `demure train` wrote, or its URL."), READS
]
DatasetFolder = Annotated[
    str, typer.Argument(metavar="DATASET", help="The dataset folder that `demure prepare` wrote, or its URL."), READS
]
ChangedDataset = Annotated[
    str, typer.Argument(metavar="DATASET", help="The dataset folder that `demure prepare` wrote, or its URL."), CHANGES
]
OutFolder = Annotated[str, typer.Option("--out", metavar="DIR", help="The folder to write, or its URL."), MAKES]
Modalities = Annotated[
    list[str] | None, typer.Argument(metavar="NAME", help="The modalities to include; by default all.")
]

Device = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="The device that computes: cpu, cuda, cuda:N, mps (for `extract` alone), or auto (a supported GPU, "
        "else the CPU).",
    ),
]
On = Annotated[
    str,
    typer.Option(
        "--on",
        metavar="local|ray",
        help="Where the work is done: in this process, or by workers on the Ray cluster at RAY_ADDRESS, which is this "
        "machine if that is not set.",
        rich_help_panel="Cluster",
    ),
]


RayWorkers = Annotated[
    int | None,
    typer.Option(
        "--ray-workers",
        min=1,
        metavar="N",
        help="The number of workers on the cluster, each with a model of its own; by default one for each GPU, or one "
        "for each four cores.",
        rich_help_panel="Cluster",
    ),
]
PrepareWorkers = Annotated[
    int | None,
    typer.Option(
        "--ray-workers",
        min=1,
        metavar="N",
        help="The number of workers on the cluster; by default one for each four cores.",
        rich_help_panel="Cluster",
    ),
]
Split = Annotated[str, typer.Option("--split", metavar="test|valid", help="The split to evaluate on.")]
Cutoffs = Annotated[
    str, typer.Option("--k", metavar="K,K,...", help="Lengths of the recommended list, separated by commas.")
]
TableFormat = Annotated[
    str, typer.Option("--format", metavar="FORMAT", help="table, markdown, csv, latex, or json (the same as --json).")
]
Recipe = Annotated[
    str,
    typer.Option("--recipe", metavar="NAME|FILE", help="A built-in recipe (see `demure recipes`), or a YAML file."),
    LOCAL,
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        metavar="ROLE=NAME,...",
        help="The columns to read, by role: user=visitorid,item=asin. Without a header, use column numbers from 1.",
    ),
]
TimeFormat = Annotated[
    str | None,
    typer.Option(
        "--time-format",
        metavar="NOTATION",
        help="The notation of the times: day-first, month-first, year-first, seconds, milliseconds, microseconds, "
        "nanoseconds, digits (20210310), excel, days, or a pattern such as '%d.%m.%Y %H:%M'. It is recognised if it "
        "is not given.",
    ),
]
NewItems = Annotated[
    str | None,
    typer.Option(
        "--items",
        metavar="FILE",
        help="Items that came after training, with the columns of the raw items file: scored by their content.",
    ),
    READS_FILE,
]
NewImages = Annotated[
    str | None,
    typer.Option("--images", metavar="DIR", help="The folder of the images of --items; by default that of FILE."),
    READS_FILE,
]
NewFeatures = Annotated[
    list[str] | None,
    typer.Option(
        "--features",
        metavar="NAME=FILE",
        help="Vectors of --items, by row (.npy) or by item_id (.parquet), for features that were imported.",
    ),
    LOCAL,
]
CompareWith = Annotated[
    list[str] | None,
    typer.Option("--compare", metavar="RUN", help="Another run to show next to this one. Repeat it for several runs."),
    READS,
]
Truth = Annotated[
    str | None,
    typer.Option(
        "--truth",
        metavar="FILE",
        help="A file that names the true causes, with columns user_id, item_id, modality, caused (1 or 0). With it, "
        "the report has a calibration chart.",
    ),
    READS_FILE,
]
