"""`demure eval`: recall, NDCG and more on full ranking; several runs with paired tests."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from demure_cli.common import Device, command
from demure_cli.terminal import terminal


def _show(result: Any) -> None:
    from demure_cli.eval_tables import show

    show(result)


@command(_show)
def eval_(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="One run folder, or several to compare.")],
    split: Annotated[str, typer.Option(metavar="test|valid", help="The part of the data to judge on.")] = "test",
    k: Annotated[str, typer.Option("--k", metavar="K,K,...", help="Lengths of the list, separated by commas.")] = (
        "5,10,20,50"
    ),
    per_user: Annotated[
        str | None, typer.Option(metavar="FILE.parquet", help="Write each user's metrics to this file.")
    ] = None,
    device: Device = "auto",
) -> Any:
    """Judge runs by ranking all items for every user with something to find in the split."""
    from pathlib import Path

    ks = lengths(k)
    out = None if per_user is None else Path(per_user)
    from demure.training.judge import judge

    with terminal.progress() as listener:
        return judge([Path(run) for run in runs], split=split, ks=ks, per_user=out, device=device, listener=listener)


def lengths(text: str) -> list[int]:
    """``"5,10"`` as ``[5, 10]``. Raises ``DemureError`` for what is no whole number above zero."""
    from demure.errors import DemureError

    parts = [part.strip() for part in text.split(",") if part.strip()]
    wrong = [part for part in parts if not (part.isascii() and part.isdigit() and int(part) > 0)]
    if wrong or not parts:
        said = repr(wrong[0] if wrong else text)
        raise DemureError(f"{said} is not a whole number above zero", where="--k", remedy="for example --k 5,10,20")
    return sorted({int(part) for part in parts})
