"""`demure train`: a dataset folder into a run folder."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from demure_cli.command import DatasetFolder, Device, command, flag
from demure_cli.output.terminal import terminal


def _show(result: Any) -> None:
    from demure_cli.views.making import show_trained

    show_trained(result)


@command(_show, kept="all steps so far are kept in {out}; the same command with --resume goes on from there")
def train(
    dataset: DatasetFolder,
    out: Annotated[str, typer.Option(metavar="RUN", help="The run folder to write.")],
    recipe: Annotated[
        str, typer.Option(metavar="NAME|FILE", help="A recipe that ships (`demure recipes`), or a YAML file of yours.")
    ] = "default",
    set: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="Change one value of the recipe; may be given repeatedly."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="The same seed gives the same weights on a CPU; by default 0, or that of the run whose recipe it is.",
        ),
    ] = None,
    device: Device = "auto",
    resume: Annotated[bool, flag("--resume", help="Go on with an interrupted training in RUN.")] = False,
    checkpoint_minutes: Annotated[
        float, typer.Option(metavar="N", help="Write a checkpoint every N minutes, besides that of every epoch.")
    ] = 5.0,
    overwrite: Annotated[bool, flag("--overwrite", help="Replace the run folder if it exists.")] = False,
    track: Annotated[
        list[str] | None,
        typer.Option(
            "--track",
            "--watch",  # the name of the first release
            metavar="NAME",
            help="Also write metrics to tensorboard, wandb, mlflow or trackio; several by comma.",
        ),
    ] = None,
    profile: Annotated[
        bool, flag("--profile", help="Trace some steps into RUN/trace.json, and say where time goes.")
    ] = False,
) -> Any:
    """Train on a dataset, keep the best epoch by the validation split, and write a run folder with its diagnosis."""
    from pathlib import Path

    from demure.training.tracked import train_tracked

    with terminal.progress() as listener:
        return train_tracked(
            Path(dataset),
            out=Path(out),
            recipe=recipe,
            overrides=set or [],
            seed=seed,
            device=device,
            resume=resume,
            overwrite=overwrite,
            checkpoint_minutes=checkpoint_minutes,
            track=[name.strip() for names in track or [] for name in names.split(",") if name.strip()],
            profile=profile,
            listener=listener,
        )
