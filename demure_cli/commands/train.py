"""`demure train`: a dataset folder into a run folder."""

from __future__ import annotations

from typing import Annotated

import typer

from demure_cli.command import command, view
from demure_cli.options import DatasetFolder, Device, On, RayWorkers, Recipe, flag
from demure_cli.output.terminal import terminal
from demure_cli.places import RESUMES

_TRACKERS = "Also send the metrics to tensorboard, wandb, mlflow or trackio; separate several by commas."


@command(view("train"), kept="all steps so far are kept in {out}; the same command with --resume continues from there")
def train(
    dataset: DatasetFolder,
    out: Annotated[
        str,
        typer.Option("--out", metavar="RUN", help="The run folder to write, or its URL (s3:// and similar)."),
        RESUMES,
    ],
    recipe: Recipe = "default",
    set: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change one value of the recipe. Repeat it for several values."
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed",
            metavar="N",
            help="The random seed: on a CPU, the same seed gives the same weights. The default is 0; if --recipe is "
            "the recipe.yaml of a run, it is the seed of that run.",
        ),
    ] = None,
    device: Device = "auto",
    resume: Annotated[bool, flag("--resume", help="Continue an interrupted training in RUN.")] = False,
    checkpoint_minutes: Annotated[
        float,
        typer.Option(
            "--checkpoint-minutes", metavar="N", help="Write a checkpoint every N minutes, and after every epoch."
        ),
    ] = 5.0,
    overwrite: Annotated[bool, flag("--overwrite", help="Replace the run, once the new one is finished.")] = False,
    track: Annotated[list[str] | None, typer.Option("--track", metavar="NAME", help=_TRACKERS)] = None,
    track_alias: Annotated[list[str] | None, typer.Option("--watch", hidden=True)] = None,
    profile: Annotated[
        bool, flag("--profile", help="Trace some steps into RUN/trace.json, and print where the time goes.")
    ] = False,
    on: On = "local",
    ray_workers: RayWorkers = None,
) -> object:
    """Train on a dataset, keep the best epoch on the validation split, and write a run folder with its diagnosis."""
    from pathlib import Path

    from demure.cluster.choose import open_executor
    from demure.training.on_cluster import train_on
    from demure_cli.parsing import split_words

    with (
        terminal.progress() as listener,
        open_executor(on, workers=ray_workers, device=device, listener=listener) as executor,
    ):
        return train_on(
            executor,
            Path(dataset),
            out=Path(out),
            recipe=recipe,
            overrides=set or [],
            seed=seed,
            device=device,
            resume=resume,
            overwrite=overwrite,
            checkpoint_minutes=checkpoint_minutes,
            track=split_words([*(track or ()), *(track_alias or ())]),
            profile=profile,
            listener=listener,
        )
