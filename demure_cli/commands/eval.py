"""`demure eval`: recall, NDCG and more on full ranking; several runs with paired tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from demure_cli.command import Device, command
from demure_cli.output.terminal import terminal

Split = Annotated[str, typer.Option(metavar="test|valid", help="The part of the data to judge on.")]
Form = Annotated[
    str, typer.Option("--format", metavar="FORMAT", help="table, markdown, csv, latex or json (as --json).")
]


def _show(result: Any) -> None:
    from demure_cli.views.eval import show

    show(result)


@command(_show)
def eval_(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="One run folder, or several to compare.")],
    split: Split = "test",
    k: Annotated[str, typer.Option("--k", metavar="K,K,...", help="Lengths of the list, separated by commas.")] = (
        "5,10,20,50"
    ),
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by",
            metavar="SLICING",
            help="Also on parts of the users or items: items, users (cold or warm), popularity, history, modalities, "
            "reliance, or all; separated by commas.",
        ),
    ] = None,
    per_user: Annotated[
        str | None, typer.Option(metavar="FILE.parquet", help="Write each user's metrics to this file.")
    ] = None,
    form: Form = "table",
    device: Device = "auto",
) -> Any:
    """Judge runs by ranking all items for every user with something to find in the split."""
    from pathlib import Path

    from demure_cli.output.formats import Formatted, check_format

    chosen, ks = check_format(form), lengths(k)
    out = None if per_user is None else Path(per_user)
    from demure.runs.evaluate import evaluate_runs

    with terminal.progress() as listener:
        found = evaluate_runs(
            [Path(run) for run in runs],
            split=split,
            ks=ks,
            by=words(by or []),
            per_user=out,
            device=device,
            listener=listener,
        )
    return Formatted(found, chosen)


def words(texts: Sequence[str]) -> list[str]:
    """``["a,b", "c"]`` as ``["a", "b", "c"]``."""
    return [word.strip() for text in texts for word in text.split(",") if word.strip()]


def lengths(text: str) -> list[int]:
    """``"5,10"`` as ``[5, 10]``. Raises ``DemureError`` for what is no whole number above zero."""
    from demure.errors import DemureError

    parts = words([text])
    wrong = [part for part in parts if not (part.isascii() and part.isdigit() and int(part) > 0)]
    if wrong or not parts:
        said = repr(wrong[0] if wrong else text)
        raise DemureError(f"{said} is not a whole number above zero", where="--k", remedy="for example --k 5,10,20")
    return sorted({int(part) for part in parts})
